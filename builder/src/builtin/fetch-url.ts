import { chmodSync, createReadStream, createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { decompress } from '@larder/signing/codec';
import { LarderError } from '@larder/signing/errors';
import { restoreNar } from '@larder/signing/nar-restore';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import type { BuildContext } from '../build-job.js';
import { type BuiltinOptions, requireAttribute } from './run-builtin.js';

/**
 * `builtin:fetchurl`: downloads `url` to the output, unpacks a NAR with `unpack`, makes it executable with
 * `executable`. Flat files are looked for on `hashed-mirrors` first. The hash is checked like any output's.
 */
export async function fetchUrl(context: BuildContext, options: BuiltinOptions): Promise<void> {
  const { derivation, log } = options;
  const main = requireAttribute(derivation, 'url');
  if (requireAttribute(derivation, 'outputHashMode') === 'flat') {
    for (const url of mirrorUrls(context, options)) {
      try {
        return await fetchFrom(context, url, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        log(`${url}: ${(error as Error).message}`);
      }
    }
  }
  await fetchFrom(context, main, options);
}

function mirrorUrls(context: BuildContext, { derivation }: BuiltinOptions): string[] {
  const output = derivation.outputs.get('out');
  if (output?.type !== 'fixed') return [];
  const { hash } = output.ca;
  const name = `${hash.algorithm}/${hash.format('base16', { prefix: false })}`;
  return context.settings.hashedMirrors.map((mirror) => `${mirror.replace(/\/?$/, '/')}${name}`);
}

async function fetchFrom(context: BuildContext, url: string, options: BuiltinOptions): Promise<void> {
  const { derivation, signal } = options;
  const target = options.locate('out');
  await deleteTree(target); // What a mirror that broke off left.
  const bytes = open(context, url, options);
  if (derivation.env.get('unpack') === '1') {
    const packed = requireAttribute(derivation, 'url').endsWith('.xz');
    await restoreNar(packed ? decompress(bytes, 'xz', { signal }) : bytes, target, { signal });
  } else {
    await pipeline(Readable.from(bytes, { objectMode: false }), createWriteStream(target, { flags: 'wx' }), {
      signal,
    });
  }
  if (derivation.env.get('executable') === '1') chmodSync(target, 0o755);
}

function open(
  context: BuildContext,
  text: string,
  { sandboxed, signal }: BuiltinOptions,
): AsyncIterable<Uint8Array> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const protocol: string = url?.protocol ?? '';
  switch (protocol) {
    case 'http:':
    case 'https:':
      return context.download(url!, signal);
    case 'file:':
      // Otherwise a derivation could copy what only the user who builds may read.
      if (!sandboxed) return createReadStream(fileURLToPath(url!));
      throw new LarderError(
        'fetch-refused',
        `${text} is a file of this machine, which sandboxed builds cannot read`,
      );
    default:
      throw new LarderError(
        'fetch-unsupported',
        `cannot fetch '${text}': only http, https and file URLs can be`,
      );
  }
}
