import { createReadStream } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { findBuildLog } from '@larder/substituter/local-store/build-logs';
import { print, usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { followToStorePath } from './store-arguments.js';
import { readStoreDerivation } from './store-derivation.js';
import { readFlags } from './store-flags.js';

/** `nix-store --print-env`: a derivation's environment and arguments in a form that a shell reads. */
export async function printEnv(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  if (args.length !== 1) throw usageError("'--print-env' requires one derivation store path");
  const store = await session.store();
  const derivation = await readStoreDerivation(store, store.storeDir.parse(args[0]!));
  const variables = [...derivation.env].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of variables) print(`export ${name}; ${name}=${quote(value)}\n`, 'latin1');
  print(`export _args; _args='${derivation.args.map(quote).join(' ')}'\n`, 'latin1');
  return 0;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `nix-store --read-log`. */
export async function readLog(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.store();
  const { logDir } = session.layout;
  for (const arg of args) {
    const path = followToStorePath(arg, store.storeDir);
    const deriver = isDerivationPath(path) ? path : await findLikelyDeriver(session, path);
    const log = deriver === undefined ? undefined : findBuildLog(logDir, deriver);
    if (log === undefined) {
      const full = store.storeDir.format(path);
      throw new LarderError('log-not-found', `build log of derivation '${full}' is not available`);
    }
    const { decompress } = await import('@larder/signing/codec');
    for await (const chunk of decompress(createReadStream(log.path), log.compressed ? 'bzip2' : 'none'))
      print(chunk);
  }
  return 0;
}

/** Whose log is that of the path: its deriver's, as far as the path is valid and was built. */
async function findLikelyDeriver(session: ToolSession, path: StorePath): Promise<StorePath | undefined> {
  return (await (await session.store()).queryPathInfo(path))?.deriver;
}
