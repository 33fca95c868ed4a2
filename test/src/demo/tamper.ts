import { createWriteStream } from 'node:fs';
import { chmod, cp, readFile, stat, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { hashStream } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import { formatNarInfo, type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { storePathHashPart } from '@larder/signing/store-path';
import { defaultStoreDir } from '../store-dir.js';

export interface Tampering {
  /** The server's bucket for the cache: a folder in Nix's own layout. */
  readonly bucket: string;
  /** The store path to tamper with, and its tree. */
  readonly path: string;
  readonly tree: string;
  /** Where to put the copy. */
  readonly target: string;
  /** Whether to make the narinfo fit the altered archive, as a careful attacker would. */
  readonly coverUp: boolean;
}

/** Copies a cache and puts another program into one of its paths: what somebody in control of a mirror could do. */
export async function copyTampered({ bucket, path, tree, target, coverUp }: Tampering): Promise<void> {
  await cp(bucket, target, { recursive: true });
  const altered = `${target}.altered`;
  await cp(tree, altered, { recursive: true, verbatimSymlinks: true });
  await chmod(`${altered}/bin`, 0o755);
  await chmod(`${altered}/bin/hello`, 0o755);
  // Of the same size: only a hash can tell.
  const { size } = await stat(`${altered}/bin/hello`);
  const program = '#!/bin/sh\necho all your keys are belong to us\n';
  await writeFile(`${altered}/bin/hello`, program.padEnd(size, '#'));
  await pipeline(writeNar(altered), createWriteStream(`${target}/nar/altered.nar`));
  const file = `${target}/${storePathHashPart(defaultStoreDir.parse(path))}.narinfo`;
  const info = parseNarInfo(await readFile(file, 'utf8'), defaultStoreDir);
  const { hash: narHash, size: narSize } = await hashStream('sha256', writeNar(altered));
  const elsewhere: NarInfo = {
    ...info,
    url: 'nar/altered.nar',
    compression: 'none',
    fileHash: undefined,
    fileSize: undefined,
  };
  const told: NarInfo = coverUp ? { ...elsewhere, narHash, narSize } : elsewhere;
  await chmod(file, 0o644);
  await writeFile(file, formatNarInfo(told, defaultStoreDir));
}
