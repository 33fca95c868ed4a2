import { createReadStream } from 'node:fs';
import { Hasher } from '@larder/signing/hash';
import type { PathInfo } from '@larder/signing/path-info';
import { WireWriter } from '@larder/substituter/daemon/wire';
import { addNar } from '@larder/substituter/local-store/add-path';
import { ExportReader } from './export-reader.js';
import { print, printLines } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession, ToolStore } from './session.js';
import { followToStorePath, queryValid } from './store-arguments.js';
import { sortPaths } from './store-closure.js';
import { expectNoArguments, readFlags } from './store-flags.js';

/** Stands behind the archive of each exported path. Format: `Store::exportPath`. */
export const EXPORT_MAGIC = 0x4558494e;

/** `nix-store --export`: paths with what is known of them, references first, to standard output. */
export async function exportPaths(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.store();
  const paths = await sortPaths(
    store,
    args.map((arg) => followToStorePath(arg, store.storeDir)),
  );
  for (const path of paths) await exportPath(store, await queryValid(store, path));
  print(new WireWriter().number(0).finish());
  return 0;
}

async function exportPath(store: ToolStore, info: PathInfo): Promise<void> {
  const { storeDir } = store;
  const hasher = new Hasher('sha256');
  print(new WireWriter().number(1).finish());
  for await (const chunk of store.openPacked(info).bytes) {
    hasher.update(chunk);
    print(chunk);
  }
  const full = storeDir.format(info.storePath);
  const hash = hasher.digest();
  // Damage must not spread to other machines.
  if (!hash.equals(info.narHash))
    throw new Error(`hash of path '${full}' has changed from '${info.narHash}' to '${hash}'!`);
  const details = new WireWriter()
    .number(EXPORT_MAGIC)
    .string(full)
    .strings(info.references.map((path) => storeDir.format(path)))
    .string(info.deriver === undefined ? '' : storeDir.format(info.deriver))
    .number(0);
  print(details.finish());
}

/** `nix-store --import`: adds what `--export` wrote, from standard input. */
export async function importPaths(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  expectNoArguments(args);
  const store = await session.store();
  await using reader = new ExportReader(process.stdin, store.storeDir);
  for (let info = await reader.next(); info !== undefined; info = await reader.next()) {
    const nar = createReadStream(reader.archive);
    if ('layout' in store) await addNar(store, info, nar);
    else await store.addToStore({ info, nar, checkSignatures: false });
    printLines([store.storeDir.format(info.storePath)]);
  }
  return 0;
}
