import { readFile } from 'node:fs/promises';
import { collectGarbage, findRoots } from '@larder/builder/gc/collect-garbage';
import { deletePaths as deleteFromStore } from '@larder/builder/gc/delete-paths';
import { findLivePaths } from '@larder/builder/gc/live-paths';
import { formatMebibytes, notSupported, printLines, usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { followToStorePath } from './store-arguments.js';
import { expectNoArguments, parseCount, readFlags } from './store-flags.js';

/** `nix-store --gc`. */
export async function collect(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  let action: 'delete' | 'roots' | 'live' | 'dead' = 'delete';
  let maxFreed: number | undefined;
  for (let at = 0; at < flags.length; at++) {
    const flag = flags[at]!;
    if (flag === '--print-roots') action = 'roots';
    else if (flag === '--print-live') action = 'live';
    else if (flag === '--print-dead') action = 'dead';
    else if (flag === '--max-freed') maxFreed = Math.max(0, parseCount(flags[++at]!));
    else throw usageError(`bad sub-operation '${flag}' in GC`);
  }
  expectNoArguments(args);
  if (action === 'delete') await collectAll(session, maxFreed);
  else if (action === 'roots') await printRoots(session);
  else if (action === 'live') await printLive(session);
  else await printDead(session);
  return 0;
}

/** What the settings keep besides what is needed. */
export function keptPaths(session: ToolSession): {
  readonly keepDerivations: boolean;
  readonly keepOutputs: boolean;
} {
  return {
    keepDerivations: session.flag('keep-derivations', true),
    keepOutputs: session.flag('keep-outputs', false),
  };
}

/** Deletes all garbage, or about as much as is asked for, and tells how much it was. */
export async function collectAll(session: ToolSession, maxFreed: number | undefined): Promise<void> {
  if (maxFreed === 0) return reportFreed(0, 0);
  const store = await session.store();
  if (!('layout' in store)) {
    const { paths, bytesFreed } = await store.collectGarbage({ action: 'delete', maxFreed });
    return reportFreed(paths.length, bytesFreed);
  }
  session.say('finding garbage collector roots...');
  const { deleted, freed } = await collectGarbage(store, {
    ...keptPaths(session),
    maxFreed,
    onRootsFound: async () => {
      // Where Nix's own tests have the collector wait for them: until the file (a pipe) is written.
      if (session.collectorGate !== undefined) await readFile(session.collectorGate);
      session.say('deleting garbage...');
    },
    onDelete: (name) => session.say(`deleting '${store.storeDir.path}/${name}'`),
    onNote: (text) => session.say(`${text}...`),
    signal: session.signal,
  });
  reportFreed(deleted.length, freed);
}

function reportFreed(paths: number, bytes: number): void {
  printLines([`${paths} store paths deleted, ${formatMebibytes(bytes)} MiB freed`]);
}

async function printRoots(session: ToolSession): Promise<void> {
  const store = await session.store();
  const roots = 'layout' in store ? findRoots(store) : await store.findRoots();
  const valid = await store.queryValidPaths(roots.keys());
  const lines = [...roots].flatMap(([path, places]) =>
    valid.has(path) ? [...places].map((place) => [place, store.storeDir.format(path)] as const) : [],
  );
  lines.sort(([a], [b]) => (a < b ? -1 : 1));
  printLines(lines.map(([place, path]) => `${place} -> ${path}`));
}

async function printLive(session: ToolSession): Promise<void> {
  const store = await session.store();
  if (!('layout' in store)) return printPaths((await store.collectGarbage({ action: 'live' })).paths);
  session.say('finding garbage collector roots...');
  session.say('determining live/dead paths...');
  const live = await findLivePaths(store, keptPaths(session));
  printPaths([...live].map((path) => store.storeDir.format(path)));
}

function printPaths(paths: readonly string[]): void {
  printLines([...paths].sort());
}

async function printDead(session: ToolSession): Promise<void> {
  const store = await session.store();
  if (!('layout' in store)) return printPaths((await store.collectGarbage({ action: 'dead' })).paths);
  session.say('finding garbage collector roots...');
  session.say('determining live/dead paths...');
  const { deleted } = await collectGarbage(store, {
    ...keptPaths(session),
    dryRun: true,
    signal: session.signal,
  });
  const full = deleted.map((name) => `${store.storeDir.path}/${name}`);
  printPaths(full.filter((path) => store.storeDir.contains(path)));
}

/** `nix-store --delete`. */
export async function deletePaths(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  const ignoreLiveness = readFlags(flags, ['--ignore-liveness']).size > 0;
  const store = await session.store();
  const paths = args.map((arg) => followToStorePath(arg, store.storeDir));
  if (!('layout' in store)) {
    if (ignoreLiveness)
      throw notSupported("'--ignore-liveness' through the Nix daemon", 'it allows that to nobody');
    const collected = await store.collectGarbage({ action: 'delete-paths', paths });
    reportFreed(collected.paths.length, collected.bytesFreed);
    return 0;
  }
  session.say('finding garbage collector roots...');
  let deleted = 0;
  let freed = 0;
  try {
    await deleteFromStore(store, paths, {
      ...keptPaths(session),
      ignoreLiveness,
      onDeleted: (name, bytes) => {
        session.say(`deleting '${store.storeDir.path}/${name}'`);
        deleted++;
        freed += bytes;
      },
      onNote: (text) => session.say(`${text}...`),
      signal: session.signal,
    });
  } finally {
    reportFreed(deleted, freed);
  }
  return 0;
}
