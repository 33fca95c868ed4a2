import type { StorePath } from '@larder/signing/store-path';
import { BuildMessages } from './build-messages.js';
import type { OperationRequest } from './nix-store.js';
import { openBuilder } from './realise.js';
import type { ToolSession } from './session.js';
import { followToStorePath } from './store-arguments.js';
import { expectNoArguments, readFlags } from './store-flags.js';
import { refuse } from './version.js';

/** `nix-store --repair-path`. */
export async function repairPaths(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.localStore();
  for (const arg of args) await repairStorePath(session, followToStorePath(arg, store.storeDir));
  return 0;
}

/**
 * Puts a path's right contents in its place: from a cache, else by building its deriver again.
 * @throws `repair-impossible`
 */
export async function repairStorePath(session: ToolSession, path: StorePath): Promise<void> {
  const store = await session.localStore();
  const messages = new BuildMessages(session, store.storeDir);
  const builder = await openBuilder(session, store, messages);
  try {
    await builder.repairPath(path);
  } finally {
    await builder[Symbol.asyncDispose]();
  }
}

/** `nix-store --optimise`. */
export async function optimise(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  expectNoArguments(args);
  await session.localStore();
  return refuse("'nix-store --optimise'");
}
