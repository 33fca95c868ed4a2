import { LarderError } from '@larder/signing/errors';
import type { Hash } from '@larder/signing/hash';
import type { FoundPath } from '../source-set.js';

/** @throws `nar-mismatch` unless the NAR is what the path's info says */
export function checkNar(
  { info, source }: FoundPath,
  got: { readonly narHash: Hash; readonly narSize: number },
): void {
  if (got.narSize === info.narSize && got.narHash.equals(info.narHash)) return;
  const fault =
    got.narSize === info.narSize
      ? `its NAR has the hash ${got.narHash.toString()}, not ${info.narHash.toString()}`
      : `its NAR is ${got.narSize > info.narSize ? 'longer' : 'shorter'} than ${info.narSize} bytes`;
  throw new LarderError(
    'nar-mismatch',
    `${info.storePath} from ${source.uri} is not what was promised: ${fault}`,
    {
      fields: { path: info.storePath, source: source.uri },
    },
  );
}
