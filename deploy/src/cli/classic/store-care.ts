import type { StorePath } from '@larder/signing/store-path';
import { BuildMessages } from './build-messages.js';
import { formatMebibytes, LEVEL } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import { openBuilder } from './realise.js';
import type { ToolSession } from './session.js';
import { followToStorePath } from './store-arguments.js';
import { expectNoArguments, readFlags } from './store-flags.js';

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
    messages.finish();
    await builder[Symbol.asyncDispose]();
  }
}

/** `nix-store --optimise`. */
export async function optimise(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  expectNoArguments(args);
  const store = await session.localStore();
  const { StoreOptimiser } = await import('@larder/substituter/local-store/optimise');
  const optimiser = new StoreOptimiser(store.layout.realStoreDir, {
    onNote: (text) => session.warn(text),
    signal: session.signal,
  });
  for (const path of (await store.queryAllValidPaths()).sort()) {
    await store.addTempRoots([path]);
    // It may have been deleted meanwhile.
    if ((await store.queryPathInfo(path)) === undefined) continue;
    session.say(`optimising path '${store.storeDir.format(path)}'...`, LEVEL.talkative);
    await optimiser.optimise(store.realPath(path));
  }
  const { filesLinked, bytesFreed } = optimiser.result;
  session.say(`${formatMebibytes(bytesFreed)} MiB freed by hard-linking ${filesLinked} files`);
  return 0;
}
