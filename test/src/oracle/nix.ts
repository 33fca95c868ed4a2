import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { StoreDir } from '@larder/signing/store-path';
import { componentCommand } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { defaultStoreDir } from '../store-dir.js';
import { NixDaemon } from './nix-daemon.js';
import { type ProgramOptions, type ProgramResult, runProgram, tryProgram } from './program.js';

/** One path as `nix path-info --json` tells it. */
export interface NixPathInfo {
  readonly path: string;
  readonly narHash: string;
  readonly narSize: number;
  readonly references: readonly string[];
  readonly deriver?: string;
  readonly signatures?: readonly string[];
  readonly ca?: string;
  readonly ultimate?: boolean;
}

export interface NixOptions {
  /** More lines of nix.conf, over the defaults below. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * The logical store directory. By default `/nix/store`, kept below the scratch root as a chroot store; another one is
   * used where it is, so that builds run without a sandbox and find `/bin/sh`.
   */
  readonly storeDir?: 'chroot' | 'diverted';
}

/** Stock Nix with a store, a state and a configuration of its own, no substituters and no daemon. */
export class Nix implements AsyncDisposable {
  /** A scratch directory that goes with it; the store is in there too. */
  readonly scratch: Scratch;
  readonly storeDir: StoreDir;
  /** The directory where the store's objects really are. */
  readonly realStoreDir: string;
  /** What other commands call this store: `local?root=…` of Larder, `--store` of Nix. */
  readonly root: string | undefined;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(scratch: Scratch, diverted: boolean) {
    this.scratch = scratch;
    this.root = diverted ? undefined : scratch.join('root');
    this.storeDir = diverted ? new StoreDir(scratch.join('store')) : defaultStoreDir;
    this.realStoreDir = diverted ? scratch.join('store') : scratch.join('root/nix/store');
    this.#env = {
      ...neutralEnvironment(scratch.join('home')),
      XDG_CACHE_HOME: scratch.join('cache'),
      NIX_CONF_DIR: scratch.join('conf'),
      NIX_STATE_DIR: scratch.join('var'),
      NIX_LOG_DIR: scratch.join('var/log'),
      TMPDIR: scratch.join('tmp'),
      ...(diverted ? { NIX_STORE_DIR: scratch.join('store') } : {}),
    };
  }

  /** Makes one: `await using nix = await Nix.create()`. */
  static async create({ settings = {}, storeDir = 'chroot' }: NixOptions = {}): Promise<Nix> {
    componentCommand('nix', 'nix');
    const scratch = await makeScratch('nix');
    const nix = new Nix(scratch, storeDir === 'diverted');
    for (const folder of ['home', 'conf', 'tmp', 'cache']) await mkdir(scratch.join(folder));
    await nix.configure(settings);
    return nix;
  }

  /** Rewrites nix.conf: the defaults for tests, and `settings` over them. */
  async configure(settings: Readonly<Record<string, string>>): Promise<void> {
    const lines = Object.entries({
      'experimental-features': 'nix-command ca-derivations',
      substituters: '',
      'trusted-public-keys': '',
      'build-users-group': '',
      sandbox: 'false',
      'fsync-metadata': 'false',
      // Its cache of narinfos would hide what a server says now.
      'narinfo-cache-positive-ttl': '0',
      'narinfo-cache-negative-ttl': '0',
      'netrc-file': this.scratch.join('conf/netrc'),
      ...settings,
    }).map(([key, value]) => `${key} = ${value}`);
    await writeFile(this.scratch.join('conf/nix.conf'), `${lines.join('\n')}\n`);
  }

  /** Writes the netrc file: one password for 127.0.0.1. */
  async login(password: string): Promise<void> {
    await writeFile(
      this.scratch.join('conf/netrc'),
      `machine 127.0.0.1\nlogin larder\npassword ${password}\n`,
      { mode: 0o600 },
    );
  }

  /** The environment its programs run in, for others that are to find the same store and configuration. */
  get environment(): Readonly<Record<string, string>> {
    return this.#env;
  }

  /** Starts `nix-daemon` on this store, for users of its socket: `await using daemon = await nix.startDaemon()`. */
  async startDaemon(): Promise<NixDaemon> {
    // A store that was never opened would have the daemon ask itself.
    await this.run('nix-store', ['--verify']);
    return NixDaemon.start(this.scratch.join('daemon.socket'), this.#env);
  }

  /** Runs `nix …` or `nix-store …` on this store; returns standard output, the last newline off. */
  async run(program: NixProgram, args: readonly string[], options: ProgramOptions = {}): Promise<string> {
    return (await this.runBytes(program, args, options)).toString().replace(/\n$/, '');
  }

  /** The same, for output that is not text. */
  runBytes(program: NixProgram, args: readonly string[], options: ProgramOptions = {}): Promise<Buffer> {
    const command = componentCommand('nix', program);
    return runProgram(command, this.#arguments(args), { env: this.#env, ...options });
  }

  /** The same, for commands that may fail. */
  try(program: NixProgram, args: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
    const command = componentCommand('nix', program);
    return tryProgram(command, this.#arguments(args), { env: this.#env, ...options });
  }

  /** The whole command line and environment, for whoever runs it another way. */
  command(program: NixProgram, args: readonly string[]) {
    return { command: componentCommand('nix', program), args: this.#arguments(args), env: this.#env };
  }

  /** Starts a program without waiting for it. */
  start(program: NixProgram, args: readonly string[]): ChildProcess {
    const command = componentCommand('nix', program);
    return spawn(command, this.#arguments(args), { env: this.#env, stdio: 'ignore' });
  }

  /** Runs a program on another store, such as the URL of a binary cache. */
  async runOn(store: string, program: NixProgram, args: readonly string[]): Promise<string> {
    const command = componentCommand('nix', program);
    const output = await runProgram(command, [...args, '--store', store], { env: this.#env });
    return output.toString().replace(/\n$/, '');
  }

  /** Adds trees as sources, by their base names; returns their store paths. */
  async add(...trees: readonly string[]): Promise<readonly string[]> {
    return (await this.run('nix-store', ['--add', ...trees])).split('\n');
  }

  /** What the store knows about these paths (full store paths). */
  async pathInfo(...args: readonly string[]): Promise<readonly NixPathInfo[]> {
    return JSON.parse(await this.run('nix', ['path-info', '--json', ...args])) as NixPathInfo[];
  }

  /** Instantiates an expression; returns the `.drv` paths. */
  async instantiate(expression: string): Promise<readonly string[]> {
    const lines = (await this.run('nix-instantiate', ['-E', expression])).split('\n');
    // An output other than the first of all is marked: `….drv!lib`.
    return lines.map((line) => line.replace(/!.*$/, ''));
  }

  /** Where an object of the store really is. */
  realPath(storePath: string): string {
    return storePath.replace(this.storeDir.path, this.realStoreDir);
  }

  /** Fetches paths from a cache into an empty store, trusting one key: what a user of that cache would do. */
  async fetchFresh(url: string, publicKey: string, paths: readonly string[]): Promise<ProgramResult> {
    await using other = await Nix.create({ settings: { 'trusted-public-keys': publicKey } });
    return await other.try('nix', ['copy', '--from', url, ...paths]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scratch[Symbol.asyncDispose]();
  }

  #arguments(args: readonly string[]): readonly string[] {
    return this.root === undefined ? args : [...args, '--store', this.root];
  }
}

/** The programs of Nix that take `--store`. */
export type NixProgram = 'nix' | 'nix-store' | 'nix-instantiate' | 'nix-build' | 'nix-collect-garbage';
