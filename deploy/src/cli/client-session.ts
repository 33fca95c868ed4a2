import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import type { Trust } from '@larder/signing/trust';
import { type Client, createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import type { OpenContext } from '@larder/substituter/open-store';
import { chooseTrust, type TrustChoice } from '@larder/substituter/settings/choose-trust';
import type { Settings } from '@larder/substituter/settings/settings';
import { type Command, Option } from 'commander';
import { collect, usageError } from './command.js';

/** Options that every verb of the client takes. */
export interface ClientOptions extends TrustChoice {
  readonly tokenFile?: string;
  readonly requireSigs?: boolean;
  readonly option?: readonly (readonly [name: string, value: string])[];
  /** Defined for verbs that keep on disk what caches answered. */
  readonly refresh?: boolean;
}

/** Adds `--token-file` and `--option` to a verb. */
export function addClientOptions(command: Command): Command {
  return command
    .option('--token-file <file>', "log in with the token in this file rather than the netrc file's")
    .addOption(
      new Option('--option <name=value>', 'set a setting of nix.conf; repeatable').argParser(collectSetting),
    );
}

/** Adds `--trusted-public-keys`, `--policy` and `--no-require-sigs`. */
export function addTrustOptions(command: Command): Command {
  return command
    .option('--trusted-public-keys <keys>', 'trust these keys rather than those of nix.conf', collect)
    .option('--policy <file>', 'the trust policy in this file rather than the one configured')
    .option('--no-require-sigs', 'accept paths that no trusted key signed');
}

/** Adds `--refresh`, to a verb that keeps on disk what caches answered. */
export function addMemoryOptions(command: Command): Command {
  return command.option('--refresh', 'ask caches anew, whatever they answered before', false);
}

function collectSetting(text: string, previous: [string, string][] = []): [string, string][] {
  const equals = text.indexOf('=');
  if (equals < 1) throw usageError(`--option takes NAME=VALUE, not '${text}'`);
  return [...previous, [text.slice(0, equals).trim(), text.slice(equals + 1).trim()]];
}

const refreshed = ['narinfo-cache-positive-ttl', 'narinfo-cache-negative-ttl'].map((name) => ({
  name,
  value: '0',
  origin: '--refresh',
}));

/**
 * V8 optimises a function after it ran for so long, counted in bytes of its code. Its own figure is for programs that run
 * on: transfers spend their seconds in compression, hashing and the kernel, and a fifth of them went into optimising the rest.
 */
const BYTES_BEFORE_OPTIMISING = 1_000_000;

/** What the client's verbs work with: settings, connections, and a signal that Ctrl-C raises. */
export class ClientSession implements AsyncDisposable {
  readonly #client: Client;
  readonly #interrupt = new AbortController();
  readonly #onSignal = (): void => this.#interrupt.abort();

  private constructor(client: Client) {
    this.#client = client;
    setMaxListeners(0, this.#interrupt.signal); // Each request listens.
    process.once('SIGINT', this.#onSignal);
    process.once('SIGTERM', this.#onSignal);
  }

  /**
   * Before threads are started: V8 takes their compiled forms under the flags that they were made under.
   * @param given a token, before the one in `--token-file`
   */
  static async open(options: ClientOptions, given?: string): Promise<ClientSession> {
    setFlagsFromString(`--interrupt-budget=${BYTES_BEFORE_OPTIMISING}`);
    const overrides = (options.option ?? []).map(([name, value]) => ({
      name,
      value,
      origin: 'command line',
    }));
    const settings = loadSettings(undefined, [...overrides, ...(options.refresh === true ? refreshed : [])]);
    const token =
      given ??
      (options.tokenFile === undefined ? undefined : (await readFile(options.tokenFile, 'utf8')).trim());
    const client = createClient(settings, {
      http: {
        authorization: token === undefined ? undefined : `Bearer ${token}`,
        onRetry: (error, delay) => note(`${(error as Error).message}; trying again in ${delay} ms`),
      },
      ...(options.refresh === undefined ? {} : { rememberNarInfos: { files: false } }),
      onWait: (path) => note(`waiting for the lock on ${path}`),
    });
    return new ClientSession(client);
  }

  get context(): OpenContext {
    return this.#client.context;
  }

  get settings(): Settings {
    return this.context.settings;
  }

  /** Aborted by SIGINT and SIGTERM; a second one ends the process at once. */
  get signal(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** What is trusted: as the command line says, else as the configuration does. */
  async trust(
    options: ClientOptions,
  ): Promise<{ readonly trusted: Trust; readonly requireSignatures: boolean }> {
    return {
      trusted: await chooseTrust(this.settings, options),
      requireSignatures: options.requireSigs !== false && this.settings.get('require-sigs'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('SIGINT', this.#onSignal);
    process.off('SIGTERM', this.#onSignal);
    await this.#client[Symbol.asyncDispose]();
  }
}

/** A remark for a person, on standard error. */
export function note(text: string): void {
  process.stderr.write(`larder: ${text}\n`);
}
