import { fileURLToPath } from 'node:url';
import type { StorePath } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { type Client, createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { type CopyResult, copyPaths } from '@larder/substituter/copy/copy-paths';
import { findStoreLayout } from '@larder/substituter/local-store/layout';
import { LocalStore, localStoreOptions } from '@larder/substituter/local-store/local-store';
import { openDestination } from '@larder/substituter/open-destination';
import { type OpenContext, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
import { type ProgramResult, tryProgram } from '../oracle/program.js';

/** A client with Nix's default settings and nothing of this machine's, for tests. */
export class TestClient implements AsyncDisposable {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  get context(): OpenContext {
    return this.#client.context;
  }

  /** `config` is text of nix.conf; with `cacheHome`, a directory, what caches answered is kept there. */
  static create(config = '', { cacheHome }: { readonly cacheHome?: string } = {}): TestClient {
    const settings = loadSettings({
      HOME: '/nonexistent',
      XDG_CACHE_HOME: cacheHome,
      NIX_CONF_DIR: '/nonexistent',
      NIX_CONFIG: `fsync-metadata = false\n${config}`,
    });
    return new TestClient(
      createClient(settings, cacheHome === undefined ? {} : { rememberNarInfos: { files: false } }),
    );
  }

  /** Opens the store below `root`, making it if need be. */
  openStore(root: string): Promise<LocalStore> {
    const { settings } = this.context;
    const layout = findStoreLayout(settings, new Map([['root', root]]));
    return LocalStore.open(layout, localStoreOptions(settings), `local?root=${root}`);
  }

  /** Copies paths, in this process. */
  async copy(paths: readonly StorePath[], options: TestCopyOptions): Promise<CopyResult> {
    const { from, to, recursive = true, keys = [], requireSignatures = false, onEvent, signal } = options;
    const sources = new SourceSet(await Promise.all(from.map((uri) => openSource(uri, this.context))));
    const destination = await openDestination(to, this.context);
    try {
      return await copyPaths(paths, {
        sources,
        destination,
        recursive,
        trusted: TrustedKeys.parse(keys),
        requireSignatures,
        queries: 16,
        transfers: 8,
        onEvent,
        signal,
      });
    } finally {
      await destination.close();
      await sources.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

export interface TestCopyOptions {
  readonly from: readonly string[];
  readonly to: string;
  readonly recursive?: boolean;
  readonly keys?: readonly string[];
  readonly requireSignatures?: boolean;
  readonly onEvent?: (event: CopyEvent) => void;
  readonly signal?: AbortSignal;
}

/** The executable, as npm links it. */
export const larderProgram = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

/** Runs `larder …` with nothing of this machine's configuration. */
export function runLarder(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  return tryProgram(process.execPath, [larderProgram, ...args], { env: larderEnvironment(env) });
}

export function larderEnvironment(env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { HOME: '/nonexistent', NIX_CONF_DIR: '/nonexistent', PATH: '/usr/bin:/bin', ...env };
}
