import { createReadStream, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { BuildContext } from '../build-job.js';
import { LogicalFiles } from './logical-files.js';
import { type BuiltinOptions, requireAttribute } from './run-builtin.js';
import { unpackTar } from './unpack-tar.js';

/** `builtin:unpack-channel`: unpacks the tarball `src`, whose one directory gets the name `channelName`. */
export async function unpackChannel(context: BuildContext, options: BuiltinOptions): Promise<void> {
  const { derivation, signal } = options;
  const out = options.locate('out');
  const name = requireAttribute(derivation, 'channelName');
  const source = requireAttribute(derivation, 'src');
  const file = new LogicalFiles(context.store.layout).locate(source);
  if (file === undefined)
    throw new LarderError('derivation-invalid', `the tarball '${source}' is not in the store`);
  if (name.includes('/') || name === '' || name === '.' || name === '..') {
    throw new LarderError('derivation-invalid', `'${name}' cannot be the name of a directory`);
  }
  mkdirSync(out);
  await unpackTar(createReadStream(file, { signal }), out);
  const entries = readdirSync(out);
  if (entries.length !== 1) {
    throw new LarderError('derivation-invalid', `channel tarball '${source}' contains more than one file`);
  }
  renameSync(`${out}/${entries[0]}`, `${out}/${name}`);
}
