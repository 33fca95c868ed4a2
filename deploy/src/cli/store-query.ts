import { LarderError } from '@larder/signing/errors';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import type { MachineStore } from '@larder/substituter/store';
import { usageError } from './command.js';

type Query = (store: MachineStore, paths: readonly StorePath[]) => Promise<string[]>;

/** The questions, by the option that asks them. */
const queries: Readonly<Record<string, Query>> = {
  references: (store, paths) =>
    eachInfo(store, paths, (info) => info.references.map((path) => store.storeDir.format(path))),
  requisites: async (store, paths) => {
    await checkValid(store, paths);
    return (await store.queryClosure(paths)).map(({ storePath }) => store.storeDir.format(storePath));
  },
  referrers: (store, paths) => eachPath(store, paths, (path) => store.queryReferrers(path)),
  referrersClosure: async (store, paths) => {
    await checkValid(store, paths);
    return formatAll(store, await store.queryReferrersClosure(paths));
  },
  deriver: (store, paths) =>
    eachInfo(store, paths, ({ deriver }) => [
      deriver === undefined ? 'unknown-deriver' : store.storeDir.format(deriver),
    ]),
  validDerivers: (store, paths) => eachPath(store, paths, (path) => store.queryValidDerivers(path)),
  outputs: (store, paths) =>
    eachPath(store, paths, async (path) => [...(await store.queryDerivationOutputs(path)).values()]),
  hash: (store, paths) => eachInfo(store, paths, (info) => [info.narHash.toString()]),
  size: (store, paths) => eachInfo(store, paths, (info) => [String(info.narSize)]),
  all: async (store) => formatAll(store, await store.queryAllValidPaths()),
};

/**
 * Answers the one question that the options ask, a line an answer.
 * @throws `usage` for none or several, `path-not-found` for paths that are not valid
 */
export async function runQuery(
  store: MachineStore,
  paths: readonly StorePath[],
  options: Readonly<Record<string, unknown>>,
): Promise<string[]> {
  const asked = Object.keys(queries).filter((name) => options[name] === true);
  if (asked.length !== 1)
    throw usageError('ask one question at a time, such as --references; --help lists them');
  if (paths.length === 0 && asked[0] !== 'all') throw usageError('name at least one path');
  const lines = await queries[asked[0]!]!(store, paths);
  // Answers about several paths overlap; a hash or size belongs to its path.
  return asked[0] === 'hash' || asked[0] === 'size' || asked[0] === 'deriver' ? lines : [...new Set(lines)];
}

async function eachInfo(
  store: MachineStore,
  paths: readonly StorePath[],
  answer: (info: ValidPathInfo) => string[],
): Promise<string[]> {
  const lines: string[] = [];
  for (const path of paths) {
    const info = await store.queryPathInfo(path);
    if (info === undefined) throw notValid(store, path);
    lines.push(...answer(info));
  }
  return lines;
}

async function eachPath(
  store: MachineStore,
  paths: readonly StorePath[],
  answer: (path: StorePath) => Promise<StorePath[]>,
): Promise<string[]> {
  await checkValid(store, paths);
  const lines: string[] = [];
  for (const path of paths) lines.push(...formatAll(store, await answer(path)));
  return lines;
}

async function checkValid(store: MachineStore, paths: readonly StorePath[]): Promise<void> {
  const valid = await store.queryValidPaths(paths);
  for (const path of paths) if (!valid.has(path)) throw notValid(store, path);
}

function formatAll(store: MachineStore, paths: readonly StorePath[]): string[] {
  return [...paths].sort().map((path) => store.storeDir.format(path));
}

function notValid(store: MachineStore, path: StorePath): LarderError {
  return new LarderError('path-not-found', `${store.storeDir.format(path)} is not valid in ${store.uri}`, {
    fields: { path },
  });
}
