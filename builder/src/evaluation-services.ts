import { createHash } from 'node:crypto';
import { mkdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import type { FetchedTree, FetchInput, OutputToRealise } from './eval/host.js';
import type { ReplCompletion, ReplQuestion } from './evaluation.js';
import type { AccessTokens } from './fetch/access-tokens.js';
import { Fetcher } from './fetch/fetcher.js';
import { StoreWriter, type TreeToWrite } from './store-writer.js';

/** The terminal's side of a conversation. */
export interface EvaluationPrompt {
  /** The next line, or a wish to complete one; undefined at the end. `fresh` unless an expression goes on. */
  ask(fresh: boolean): Promise<ReplQuestion | undefined>;
  tell(completion: ReplCompletion): void;
}

/** How an evaluation reaches the rest of the program. */
export interface EvaluationContext {
  readonly openStore: () => Promise<LocalStore | DaemonStore>;
  /** Makes outputs of derivations valid, by substitution or by building. */
  readonly realise: (
    outputs: readonly OutputToRealise[],
    store: LocalStore | DaemonStore,
  ) => Promise<readonly StorePath[]>;
  /** Makes a store path valid by substitution. */
  readonly ensurePath: (path: StorePath, store: LocalStore | DaemonStore) => Promise<void>;
  /** Copies a path, with all it refers to, from a binary cache. */
  readonly fetchClosure: (
    path: StorePath,
    fromStore: string,
    store: LocalStore | DaemonStore,
  ) => Promise<void>;
  /** Whether there is no store at all, as for checks that write nothing. */
  readonly storeless?: boolean;
  /** Where a conversation's lines come from. */
  readonly prompt?: EvaluationPrompt | undefined;
  /** Tokens for forges, by what they are for. */
  readonly accessTokens: AccessTokens;
  /** The `Authorization` header for a URL, from the netrc file. */
  readonly authorization: (url: URL) => string | undefined;
  readonly stateDir: string;
  readonly cacheDir: string;
  readonly storeDir: string;
  readonly realStoreDir: string;
}

/** What the main thread does for an evaluating thread. The store is opened when it is first needed. */
export class EvaluationServices {
  private readonly context: EvaluationContext;
  private store: LocalStore | DaemonStore | undefined;
  private opened: Promise<LocalStore | DaemonStore> | undefined;
  private readonly writer: StoreWriter;

  constructor(context: EvaluationContext) {
    this.context = context;
    this.writer = new StoreWriter(() => this.open());
  }

  private async open(): Promise<LocalStore | DaemonStore> {
    this.opened ??= this.context.openStore();
    this.store = await this.opened;
    return this.store;
  }

  /** Closes what was opened. */
  async close(): Promise<void> {
    await this.store?.close();
  }

  /** Whether all of some paths are valid. */
  async areValid(paths: readonly string[]): Promise<boolean> {
    const store = await this.open();
    if (store instanceof LocalStore) {
      return (await store.queryMissing(paths as readonly StorePath[])).size === 0;
    }
    for (const path of paths) if (!(await this.isValidPath(path as StorePath))) return false;
    return true;
  }

  async isValidPath(path: StorePath): Promise<boolean> {
    if (this.context.storeless === true) return false;
    const store = await this.open();
    await this.flush();
    return (await store.queryPathInfo(path)) !== undefined;
  }

  async queryReferences(path: StorePath): Promise<readonly StorePath[]> {
    const store = await this.open();
    // It may be what this evaluation has just added.
    await this.flush();
    const info = await store.queryPathInfo(path);
    if (info === undefined) throw invalidPath(this.context.storeDir, path);
    return info.references;
  }

  addText(path: StorePath, contents: Uint8Array, references: readonly StorePath[]): void {
    this.writer.addText({ path, contents, references });
  }

  addTree(tree: TreeToWrite): void {
    this.writer.addTree(tree);
  }

  async flush(): Promise<void> {
    await this.writer.flush();
  }

  async ensurePath(path: StorePath): Promise<void> {
    const store = await this.open();
    await this.flush();
    if ((await store.queryPathInfo(path)) === undefined) await this.context.ensurePath(path, store);
  }

  async realise(outputs: readonly OutputToRealise[]): Promise<readonly StorePath[]> {
    const store = await this.open();
    await this.flush();
    return this.context.realise(outputs, store);
  }

  async fetchUrl(request: {
    readonly url: string;
    readonly name: string;
    readonly unpack: boolean;
    readonly sha256: string | undefined;
  }): Promise<StorePath> {
    return (await this.fetcher()).fetchUrl(request);
  }

  async fetchClosure({ path, fromStore }: { readonly path: StorePath; readonly fromStore: string }): Promise<{
    readonly contentAddressed: boolean;
  }> {
    const store = await this.open();
    await this.flush();
    if ((await store.queryPathInfo(path)) === undefined) {
      await this.context.fetchClosure(path, fromStore, store);
    }
    const info = await store.queryPathInfo(path);
    if (info === undefined) throw invalidPath(this.context.storeDir, path);
    return { contentAddressed: info.ca !== undefined };
  }

  async fetchTree(input: FetchInput): Promise<FetchedTree> {
    return (await this.fetcher()).fetchTree(input);
  }

  private async fetcher(): Promise<Fetcher> {
    return new Fetcher({
      store: await this.open(),
      cacheDir: this.context.cacheDir,
      storeDir: this.context.storeDir,
      realStoreDir: this.context.realStoreDir,
      accessTokens: this.context.accessTokens,
      authorization: this.context.authorization,
    });
  }

  async ask(fresh: boolean): Promise<ReplQuestion | undefined> {
    return this.context.prompt?.ask(fresh);
  }

  tell(completion: ReplCompletion): void {
    this.context.prompt?.tell(completion);
  }

  /** Makes `link` point to a store path and keeps that from garbage collection; gives the link. */
  addRoot(link: string, storePath: string): string {
    const full = resolve(link);
    replaceLink(storePath, full);
    const name = createHash('sha256').update(full).digest('hex').slice(0, 40);
    const roots = `${this.context.stateDir}/gcroots/auto`;
    mkdirSync(roots, { recursive: true });
    replaceLink(full, `${roots}/${name}`);
    return full;
  }
}

function replaceLink(target: string, link: string): void {
  try {
    if (readlinkSync(link) === target) return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EINVAL') {
      throw new LarderError('root-in-the-way', `cannot create symlink '${link}'; already exists`);
    }
    if (code !== 'ENOENT') throw error;
  }
  mkdirSync(dirname(link), { recursive: true });
  const temporary = `${link}.tmp-${process.pid}`;
  try {
    unlinkSync(temporary);
  } catch {
    // Nothing was left of an earlier attempt.
  }
  symlinkSync(target, temporary);
  renameSync(temporary, link);
}

function invalidPath(storeDir: string, path: string): LarderError {
  return new LarderError('path-invalid', `path '${storeDir}/${path}' is not valid`);
}
