import { setMaxListeners } from 'node:events';
import { existsSync } from 'node:fs';
import type { Client } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { findStoreLayout, isWritable, type StoreLayout } from '@larder/substituter/local-store/layout';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { OpenContext } from '@larder/substituter/open-store';
import type { Settings } from '@larder/substituter/settings/settings';
import { parseStoreUri, type StoreUri } from '@larder/substituter/store-uri';
import type { CommonArguments } from './arguments.js';
import { LEVEL, notSupported, showLine, showWarning, useStructuredLog } from './messages.js';

/** A store that the tools work on. */
export type ToolStore = LocalStore | DaemonStore;

/**
 * What a tool works with: the settings in force, the store and the client, each opened when it is first needed. Tools
 * are called by the hundred from scripts, so whatever a call does without is not even loaded.
 */
export class ToolSession implements AsyncDisposable {
  readonly settings: Settings;
  readonly arguments: CommonArguments;
  /** The file that `_NIX_TEST_GC_SYNC` has a garbage collector wait for. */
  readonly collectorGate: string | undefined;
  /** Whether caches in directories are treated as those on the network are: Nix's own tests ask for that. */
  readonly #remembersFiles: boolean;
  readonly #interrupt = new AbortController();
  #store: Promise<ToolStore> | undefined;
  #client: Promise<Client> | undefined;

  constructor(args: CommonArguments, environment: NodeJS.ProcessEnv) {
    this.arguments = args;
    if (args.logFormat === 'internal-json') useStructuredLog();
    this.collectorGate = environment._NIX_TEST_GC_SYNC || undefined;
    this.#remembersFiles = environment._NIX_FORCE_HTTP === '1';
    this.settings = loadSettings(environment, args.settings);
    setMaxListeners(0, this.signal);
    const onSignal = (): void => this.#interrupt.abort();
    process.once('SIGINT', onSignal);
    process.once('SIGTERM', onSignal);
    process.once('SIGHUP', onSignal);
  }

  /** Aborted by SIGINT, SIGTERM and SIGHUP; a second one ends the process at once. */
  get signal(): AbortSignal {
    return this.#interrupt.signal;
  }

  get layout(): StoreLayout {
    return findStoreLayout(this.settings, this.#uri.parameters);
  }

  /** The store that the settings name. */
  async store(): Promise<ToolStore> {
    this.#store ??= this.#openStore();
    return this.#store;
  }

  /** The store, for what goes to its files and database. */
  async localStore(): Promise<LocalStore> {
    const store = await this.store();
    if ('layout' in store) return store;
    throw notSupported('this through the Nix daemon', "run it as the store's owner, or name another store");
  }

  /** Connections to caches and worker threads. */
  async client(): Promise<OpenContext> {
    this.#client ??= this.#createClient();
    return (await this.#client).context;
  }

  /** Says something on standard error, if the verbosity asks for it. */
  say(text: string, level: number = LEVEL.info): void {
    if (level <= this.arguments.verbosity) showLine(text, level);
  }

  warn(text: string): void {
    if (this.arguments.verbosity >= LEVEL.warning) showWarning(text);
  }

  /** A switch among the settings that the client itself does not read. */
  flag(name: string, fallback: boolean): boolean {
    const value = this.settings.other(name)?.value;
    return value === undefined ? fallback : ['true', 'yes', '1'].includes(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const store = await this.#store?.catch(() => undefined);
    await store?.close();
    const client = await this.#client?.catch(() => undefined);
    await client?.[Symbol.asyncDispose]();
  }

  get #uri(): StoreUri {
    return parseStoreUri(this.settings.get('store'));
  }

  async #openStore(): Promise<ToolStore> {
    const uri = this.#uri;
    if (uri.kind === 'file' || uri.kind === 'http' || uri.kind === 's3') {
      throw notSupported(
        `'${this.settings.get('store')}' as the store of this tool`,
        "it works on this machine's stores; 'larder copy', 'push', 'path-info' and 'verify' work on caches",
      );
    }
    const { layout } = this;
    if (uri.kind === 'local' || (uri.kind === 'auto' && isOurs(layout.stateDir))) {
      const { LocalStore, localStoreOptions } = await import('@larder/substituter/local-store/local-store');
      return LocalStore.open(layout, localStoreOptions(this.settings));
    }
    const { openMachineStore } = await import('@larder/substituter/open-store');
    return openMachineStore(uri, await this.client());
  }

  async #createClient(): Promise<Client> {
    const { createClient } = await import('@larder/substituter/client');
    return createClient(this.settings, {
      http: {
        onRetry: (error, delay) => this.warn(`${(error as Error).message}; retrying in ${delay} ms`),
      },
      rememberNarInfos: { files: this.#remembersFiles },
      onWait: (path) => this.say(`waiting for the lock on '${path}'...`),
    });
  }
}

/** Whether a store with this state is for us to write, or not there yet. */
function isOurs(stateDir: string): boolean {
  return isWritable(stateDir) || !existsSync(stateDir);
}
