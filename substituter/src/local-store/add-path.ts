import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { ContentAddress } from '@larder/signing/content-address';
import { makeContentAddressedPath } from '@larder/signing/content-address';
import { computeContentHash } from '@larder/signing/content-hash';
import { LarderError } from '@larder/signing/errors';
import { computeHash, Hash, type HashAlgorithm, hashStream } from '@larder/signing/hash';
import { NarParser } from '@larder/signing/nar-parser';
import { NarRestorer } from '@larder/signing/nar-restore';
import { narOfContents, writeNar } from '@larder/signing/nar-writer';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { DaemonStore } from '../daemon/daemon-store.js';
import { checkContents } from './check-contents.js';
import { deleteTree } from './delete-tree.js';
import type { LocalStore, StagedPath } from './local-store.js';

/** Where contents can be added: what they are named by is proof enough for the daemon too. */
export type AddTarget = LocalStore | DaemonStore;

export interface AddOptions {
  /** The name in the store; the file's own without it. */
  readonly name?: string;
  /** Address the tree by its NAR, as sources are (the default), or a plain file by its bytes. */
  readonly method?: 'recursive' | 'flat';
  readonly algorithm?: HashAlgorithm;
  /** Paths that the contents refer to. */
  readonly references?: readonly StorePath[];
  /** Which entries of a tree to take, by their full path. */
  readonly filter?: (path: string) => boolean;
  readonly signal?: AbortSignal;
}

/**
 * Adds a file or tree to the store under the path that its contents give it, as `nix-store --add` does, and gives
 * what is registered. A path that is there already is left alone.
 * @throws `store-name-invalid` via the path rules, `file-changed`, `nar-unsupported-file`
 */
export async function addPath(store: AddTarget, file: string, options: AddOptions = {}): Promise<PathInfo> {
  const { method = 'recursive', algorithm = 'sha256', references = [], filter, signal } = options;
  const read = () => writeNar(file, { filter, signal });
  const nar = await hashStream('sha256', read());
  const simple = method === 'recursive' && algorithm === 'sha256';
  const hash =
    simple || filter !== undefined
      ? await narHashBy(algorithm, nar.hash, read)
      : await computeContentHash(file, { method, algorithm });
  return addContents(store, {
    name: options.name ?? basename(file),
    ca: { method, hash },
    references,
    narHash: nar.hash,
    narSize: nar.size,
    read,
  });
}

async function narHashBy(
  algorithm: HashAlgorithm,
  sha256: Hash,
  read: () => AsyncIterable<Uint8Array>,
): Promise<Hash> {
  return algorithm === 'sha256' ? sha256 : (await hashStream(algorithm, read())).hash;
}

/** Adds a text file, such as a derivation, as `builtins.toFile` does. */
export async function addText(
  store: AddTarget,
  {
    name,
    text,
    references = [],
  }: { readonly name: string; readonly text: string; readonly references?: readonly StorePath[] },
): Promise<PathInfo> {
  const bytes = Buffer.from(text);
  const read = async function* () {
    yield* narOfContents(bytes);
  };
  const nar = await hashStream('sha256', read());
  const ca: ContentAddress = { method: 'text', hash: computeHash('sha256', bytes) };
  return addContents(store, { name, ca, references, narHash: nar.hash, narSize: nar.size, read });
}

interface Contents {
  readonly name: string;
  readonly ca: ContentAddress;
  readonly references: readonly StorePath[];
  readonly narHash: Hash;
  readonly narSize: number;
  readonly read: () => AsyncIterable<Uint8Array>;
}

async function addContents(store: AddTarget, contents: Contents): Promise<PathInfo> {
  const { name, ca, narHash, narSize } = contents;
  const references = [...contents.references].sort();
  const storePath = makeContentAddressedPath(store.storeDir, name, { ...ca, references });
  const info: PathInfo = { storePath, narHash, narSize, references, signatures: [], ca };
  if (store instanceof DaemonStore)
    await store.addToStore({ info, nar: contents.read(), checkSignatures: true });
  else await addNar(store, info, contents.read());
  return info;
}

/**
 * Adds a path from its NAR, which is checked against `info`; a path that is valid is left alone and the NAR unread.
 * Whether `info` is to be trusted is the caller's to know.
 * @throws `nar-hash-mismatch`, `nar-malformed`, `reference-invalid`
 */
export async function addNar(
  store: LocalStore,
  info: PathInfo,
  nar: AsyncIterable<Uint8Array>,
): Promise<void> {
  await store.addTempRoots([info.storePath, ...info.references]);
  const staged = await store.stage(info.storePath);
  if (staged === undefined) return;
  try {
    await restoreStaged(store, staged, { info, nar });
    await staged.publish();
    store.register([info]);
  } finally {
    await deleteTree(staged.directory);
    staged.release();
  }
}

interface NarToRestore {
  readonly info: PathInfo;
  readonly nar: AsyncIterable<Uint8Array>;
}

async function restoreStaged(
  store: LocalStore,
  staged: StagedPath,
  { info, nar }: NarToRestore,
): Promise<void> {
  const restorer = new NarRestorer(staged.directory, { canonical: true, fsync: store.fsyncsStorePaths });
  const parser = new NarParser(restorer);
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const chunk of nar) {
      hash.update(chunk);
      size += chunk.length;
      parser.write(chunk);
    }
    parser.end();
  } finally {
    restorer.close();
  }
  const got = new Hash('sha256', hash.digest());
  if (size !== info.narSize || !got.equals(info.narHash)) {
    throw new LarderError(
      'nar-hash-mismatch',
      `${info.storePath}: its NAR has ${size} bytes and the hash ${got.toString()}, not ${info.narSize} and ${info.narHash.toString()}`,
      { fields: { path: info.storePath } },
    );
  }
  await checkContents(info, staged.directory, store.storeDir);
}
