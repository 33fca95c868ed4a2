import { createReadStream, mkdirSync } from 'node:fs';
import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decompress } from '@larder/signing/codec';
import { sniffCompression } from '@larder/signing/compression';
import { makeContentAddressedPath } from '@larder/signing/content-address';
import { LarderError } from '@larder/signing/errors';
import { hashStream, parseHash } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import type { StorePath } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { addPath } from '@larder/substituter/local-store/add-path';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import type { FetchedTree, FetchInput } from '../eval/host.js';
import type { AccessTokens } from './access-tokens.js';
import { fetchGitTree } from './git.js';
import { forgeArchive, inputFromUrl } from './inputs.js';
import { fetchMercurialTree } from './mercurial.js';
import { resolveIndirect } from './registry.js';
import { stampTree } from './source-stamps.js';
import { singleDirectory, unpackTar } from './unpack.js';

/** Where fetched things go. */
export interface FetcherOptions {
  readonly store: LocalStore | DaemonStore;
  readonly cacheDir: string;
  readonly storeDir: string;
  readonly realStoreDir: string;
  /** Tokens for forges, by what they are for. */
  readonly accessTokens: AccessTokens;
  /** The `Authorization` header for a URL, from the netrc file. */
  readonly authorization: (url: URL) => string | undefined;
}

/** A directory that is gone when its user is done with it. */
async function withTemporaryDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-fetch-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Fetches files and source trees into a store. */
export class Fetcher {
  private readonly options: FetcherOptions;

  constructor(options: FetcherOptions) {
    this.options = options;
  }

  /** Fetches a file, or unpacks the archive it is; gives its store path. */
  async fetchUrl(request: {
    readonly url: string;
    readonly name: string;
    readonly unpack: boolean;
    readonly sha256: string | undefined;
  }): Promise<StorePath> {
    return withTemporaryDirectory(async (directory) => {
      const file = await this.download(request.url, directory);
      const tree = request.unpack ? (await unpackFile(file, directory)).tree : file;
      if (request.sha256 !== undefined && request.sha256 !== '') {
        await checkHash(tree, request.url, { expected: request.sha256, unpack: request.unpack });
      }
      return this.add(tree, request.name, request.unpack ? 'recursive' : 'flat');
    });
  }

  private async add(path: string, name: string, method: 'flat' | 'recursive'): Promise<StorePath> {
    return (await addPath(this.options.store, path, { name, method })).storePath;
  }

  /** Fetches a source tree by the attributes of a flake input. */
  async fetchTree(given: FetchInput): Promise<FetchedTree> {
    const input = await resolveIndirect(given.type === undefined ? inputFromUrl(String(given.url)) : given);
    const tree = (await this.findFetched(input)) ?? (await this.fetchInput(input));
    const expected = input.narHash;
    const got = tree.attrs.narHash;
    if (typeof expected === 'string' && parseHash(expected, 'sha256').format('sri') !== got) {
      throw new LarderError(
        'hash-mismatch',
        `NAR hash mismatch in input '${describeInput(input)}', expected '${expected}' but got '${String(got)}'`,
      );
    }
    // What its hash fixes is the same whatever it was made of.
    return typeof expected === 'string' ? { ...tree, sources: [] } : tree;
  }

  /** A tree whose hash says that it is in the store already, of which nothing else needs to be found out. */
  private async findFetched(input: FetchInput): Promise<FetchedTree | undefined> {
    const { narHash, name } = input;
    if (typeof narHash !== 'string' || !tellsAll(input)) return undefined;
    const { store } = this.options;
    const hash = parseHash(narHash, 'sha256');
    const named = typeof name === 'string' ? name : 'source';
    const storePath = makeContentAddressedPath(store.storeDir, named, { method: 'recursive', hash });
    if (store instanceof LocalStore) await store.addTempRoots([storePath]);
    if ((await store.queryPathInfo(storePath)) === undefined) return undefined;
    return { storePath, attrs: { ...input, narHash: hash.format('sri') }, sources: [] };
  }

  private async fetchInput(input: FetchInput): Promise<FetchedTree> {
    switch (String(input.type)) {
      case 'path':
        return this.fetchPath(input);
      case 'git':
        return withTemporaryDirectory(async (directory) => {
          const { tree, attrs, ...more } = await fetchGitTree(input, directory, this.options.cacheDir);
          return { ...(await this.describe(tree, { ...input, ...attrs, type: 'git' })), ...more };
        });
      case 'hg':
        return withTemporaryDirectory(async (directory) => {
          const { tree, attrs } = await fetchMercurialTree(input, directory, this.options.cacheDir);
          return this.describe(tree, { ...input, ...attrs, type: 'hg' });
        });
      case 'tarball':
      case 'file':
        return this.fetchArchive(input, String(input.url));
      case 'github':
      case 'gitlab':
      case 'sourcehut':
        return this.fetchForge(input);
      default:
        throw new LarderError('input-unsupported', `input type '${String(input.type)}' is not supported`);
    }
  }

  private async describe(tree: string, attrs: FetchInput): Promise<FetchedTree> {
    const name = typeof attrs.name === 'string' ? attrs.name : 'source';
    const storePath = await this.add(tree, name, 'recursive');
    const { hash } = await hashStream('sha256', writeNar(tree));
    return { storePath, attrs: { ...attrs, narHash: hash.format('sri') } };
  }

  private async fetchPath(input: FetchInput): Promise<FetchedTree> {
    const path = String(input.path);
    const real = path.startsWith(`${this.options.storeDir}/`)
      ? this.options.realStoreDir + path.slice(this.options.storeDir.length)
      : path;
    const sources = stampTree(real);
    const { mtimeMs } = await stat(real);
    const lastModified = input.lastModified ?? Math.floor(mtimeMs / 1000);
    return { ...(await this.describe(real, { ...input, lastModified })), sources };
  }

  /** Downloads with the headers given, or with the netrc file's login for the host. */
  private async download(
    url: string,
    directory: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    if (url.startsWith('file:')) return copyFile(url, directory);
    const login = Object.keys(headers).length > 0 ? undefined : this.options.authorization(new URL(url));
    return download(url, directory, login === undefined ? headers : { authorization: login });
  }

  private async fetchArchive(
    input: FetchInput,
    url: string,
    headers?: Readonly<Record<string, string>>,
  ): Promise<FetchedTree> {
    return withTemporaryDirectory(async (directory) => {
      const file = await this.download(url, directory, headers);
      if (input.type === 'file' || input.unpack === false) return this.describe(file, input);
      const { tree, newest } = await unpackFile(file, directory);
      return this.describe(tree, { ...input, lastModified: newest });
    });
  }

  private async fetchForge(input: FetchInput): Promise<FetchedTree> {
    const { url, rev, headers } = await forgeArchive(input, this.options.accessTokens);
    const tree = await this.fetchArchive({ type: 'tarball', url }, url, headers);
    return {
      storePath: tree.storePath,
      attrs: { ...input, ...tree.attrs, type: String(input.type), rev },
    };
  }
}

/** Whether a lock says everything of a tree that fetching it would. */
function tellsAll({ type, rev, lastModified, revCount, shallow }: FetchInput): boolean {
  switch (String(type)) {
    case 'path':
    case 'tarball':
    case 'file':
      return true;
    case 'git':
      return rev !== undefined && lastModified !== undefined && (revCount !== undefined || shallow === true);
    case 'github':
    case 'gitlab':
    case 'sourcehut':
      return rev !== undefined && lastModified !== undefined;
    default:
      return false;
  }
}

function describeInput(input: FetchInput): string {
  return String(
    input.url ?? input.path ?? `${String(input.type)}:${String(input.owner)}/${String(input.repo)}`,
  );
}

/** Brings a file of this machine to `directory`; gives where it is. */
async function copyFile(url: string, directory: string): Promise<string> {
  const path = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
  if (!path.startsWith('/')) {
    throw new LarderError(
      'url-relative',
      `tarball '${url}' must use an absolute path. The 'file' scheme does not support relative paths.`,
    );
  }
  const name = join(directory, 'file');
  try {
    await writeFile(name, createReadStream(path));
  } catch (error) {
    throw new LarderError('download-failed', `unable to download '${url}': could not read ${path}`, {
      cause: error,
    });
  }
  return name;
}

/** Brings a file to `directory`; gives where it is. */
async function download(
  url: string,
  directory: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const name = join(directory, 'file');
  const failure = (why: string, cause?: unknown) =>
    new LarderError('download-failed', `unable to download '${url}': ${why}`, { cause });
  const response = await fetch(withoutLogin(url), { headers }).catch((error: unknown) => {
    throw failure('the server could not be reached', error);
  });
  if (!response.ok) throw failure(`HTTP error ${response.status}`);
  try {
    await writeFile(name, response.body ?? new Uint8Array());
  } catch (error) {
    throw failure('it broke off', error);
  }
  return name;
}

/** `fetch` refuses a URL with a login in it; the header has that. */
function withoutLogin(url: string): string {
  const parsed = new URL(url);
  if (parsed.username === '' && parsed.password === '') return url;
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}

async function unpackFile(file: string, directory: string): Promise<{ tree: string; newest: number }> {
  const out = join(directory, 'unpacked');
  mkdirSync(out);
  const handle = await open(file);
  const { buffer: head } = await handle.read(Buffer.alloc(32), 0, 32, 0);
  await handle.close();
  const compression = sniffCompression(head) ?? 'none';
  const newest = await unpackTar(decompress(createReadStream(file), compression), out);
  return { tree: singleDirectory(out), newest };
}

async function checkHash(
  path: string,
  url: string,
  { expected, unpack }: { readonly expected: string; readonly unpack: boolean },
): Promise<void> {
  const wanted = parseHash(expected, 'sha256');
  const { hash: got } = await hashStream('sha256', unpack ? writeNar(path) : createReadStream(path));
  if (got.equals(wanted)) return;
  const what = unpack ? 'tarball' : 'file';
  throw new LarderError(
    'hash-mismatch',
    `hash mismatch in ${what} downloaded from '${url}':\n  specified: ${wanted.format('nix32')}\n  got:       ${got.format('nix32')}`,
  );
}
