import { readdirSync, unlinkSync } from 'node:fs';
import { Hasher, hashStream } from '@larder/signing/hash';
import { dumpNar, writeNar } from '@larder/signing/nar-writer';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { LEVEL, showError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { followToStorePath, queryValid } from './store-arguments.js';
import { repairStorePath } from './store-care.js';
import { expectNoArguments, readFlags } from './store-flags.js';

/** `nix-store --verify`. */
export async function verify(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  expectNoArguments(args);
  const given = readFlags(flags, ['--check-contents', '--repair']);
  const verification = new StoreVerification(session, await session.localStore(), given.has('--repair'));
  await verification.checkExistence();
  if (given.has('--check-contents')) {
    verification.checkLinks();
    await verification.checkContents();
  }
  if (!verification.failed) return 0;
  session.warn('not all store errors were fixed');
  return 1;
}

class StoreVerification {
  failed = false;
  readonly #session: ToolSession;
  readonly #store: LocalStore;
  readonly #repair: boolean;
  readonly #valid = new Set<StorePath>();

  constructor(session: ToolSession, store: LocalStore, repair: boolean) {
    this.#session = session;
    this.#store = store;
    this.#repair = repair;
  }

  /** Whether all valid paths are there. What is gone, and needed by nothing that is there, is forgotten. */
  async checkExistence(): Promise<void> {
    this.#session.say('reading the Nix store...');
    const real = await this.#store.listRealPaths();
    this.#session.say('checking path existence...');
    const done = new Set<StorePath>();
    for (const path of (await this.#store.queryAllValidPaths()).sort())
      await this.#checkPath(path, { real, done });
  }

  async #checkPath(
    path: StorePath,
    state: { readonly real: ReadonlySet<string>; readonly done: Set<StorePath> },
  ): Promise<void> {
    if (state.done.has(path)) return;
    state.done.add(path);
    if (state.real.has(path)) {
      this.#valid.add(path);
      return;
    }
    const full = this.#store.storeDir.format(path);
    let needed = false;
    for (const referrer of await this.#store.queryReferrers(path)) {
      if (referrer === path) continue;
      await this.#checkPath(referrer, state);
      needed ||= this.#valid.has(referrer);
    }
    if (!needed) {
      this.#session.say(`path '${full}' disappeared, removing from database...`);
      this.#store.invalidate([path]);
      return;
    }
    this.#session.say(`path '${full}' disappeared, but it still has valid referrers!`, LEVEL.error);
    if (!this.#repair) this.failed = true;
    else if (await this.#tryRepair(path)) this.#valid.add(path);
  }

  /** Whether the files that `--optimise` shares are what their names say. */
  checkLinks(): void {
    this.#session.say('checking link hashes...');
    const directory = `${this.#store.layout.realStoreDir}/.links`;
    for (const name of readdirSync(directory)) {
      this.#session.say(`checking contents of '${name}'`, LEVEL.talkative);
      const hasher = new Hasher('sha256');
      for (const chunk of dumpNar(`${directory}/${name}`)) hasher.update(chunk);
      const hash = hasher.digest().format('nix32', { prefix: false });
      if (hash === name) continue;
      this.#session.say(
        `link '${directory}/${name}' was modified! expected hash '${name}', got '${hash}'`,
        LEVEL.error,
      );
      if (this.#repair) {
        unlinkSync(`${directory}/${name}`);
        this.#session.say(`removed link '${directory}/${name}'`);
      } else this.failed = true;
    }
  }

  async checkContents(): Promise<void> {
    this.#session.say('checking store hashes...');
    for (const path of [...this.#valid].sort()) {
      this.#session.signal.throwIfAborted();
      const full = this.#store.storeDir.format(path);
      this.#session.say(`checking contents of '${full}'`, LEVEL.talkative);
      if (await isUnchanged(this.#store, path)) continue;
      if (!this.#repair) this.failed = true;
      else await this.#tryRepair(path);
    }
  }

  async #tryRepair(path: StorePath): Promise<boolean> {
    try {
      await repairStorePath(this.#session, path);
      return true;
    } catch (error) {
      this.#session.signal.throwIfAborted();
      showError((error as Error).message);
      this.failed = true;
      return false;
    }
  }
}

/** Compares a valid path's contents with its hash, and says so if they differ. */
async function isUnchanged(store: LocalStore, path: StorePath): Promise<boolean> {
  const { narHash } = await queryValid(store, path);
  const { hash } = await hashStream('sha256', writeNar(store.realPath(path)));
  if (hash.equals(narHash)) return true;
  const full = store.storeDir.format(path);
  process.stderr.write(`path '${full}' was modified! expected hash '${narHash}', got '${hash}'\n`);
  return false;
}

/** `nix-store --verify-path`. */
export async function verifyPaths(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.localStore();
  let status = 0;
  for (const arg of args) {
    const path = followToStorePath(arg, store.storeDir);
    session.say(`checking path '${store.storeDir.format(path)}'...`, LEVEL.talkative);
    if (!(await isUnchanged(store, path))) status = 1;
  }
  return status;
}
