import { existsSync } from 'node:fs';
import type { Builder } from '@larder/builder/builder';
import type { BuildListener } from '@larder/builder/realise/build-event';
import { LarderError } from '@larder/signing/errors';
import type { StoreDir } from '@larder/signing/store-path';
import type { Client } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import { findStoreLayout, isWritable } from '@larder/substituter/local-store/layout';
import { LocalStore, localStoreOptions } from '@larder/substituter/local-store/local-store';
import type { Settings } from '@larder/substituter/settings/settings';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { ClosurePath, EngineOptions, RealisationPlan, Realiser } from './pipeline.js';

/** Shows builds and transfers as they go. */
export interface ProgressView {
  readonly listener: BuildListener;
  finish(): void;
}

export interface LarderRealiserOptions extends EngineOptions {
  readonly showProgress: (storeDir: StoreDir) => Promise<ProgressView>;
  readonly onWait?: (path: string) => void;
}

/** Realisation by Larder's own builder: from caches, verified, or built in a sandbox. */
export class LarderRealiser implements Realiser {
  readonly #settings: Settings;
  readonly #store: LocalStore;
  readonly #options: LarderRealiserOptions;
  #client: Client | undefined;

  private constructor(settings: Settings, store: LocalStore, options: LarderRealiserOptions) {
    this.#settings = settings;
    this.#store = store;
    this.#options = options;
  }

  /** @throws `store-needs-daemon` where the store is not the user's to write */
  static async open(options: LarderRealiserOptions): Promise<LarderRealiser> {
    const overrides = options.settings.map(([name, value]) => ({ name, value, origin: 'command line' }));
    const settings = loadSettings(undefined, overrides);
    const uri = parseStoreUri(options.root === '' ? settings.get('store') : `local?root=${options.root}`);
    if (uri.kind !== 'local' && uri.kind !== 'auto' && uri.kind !== 'daemon')
      throw new LarderError('store-unusable', `a system is not built into ${settings.get('store')}`);
    const layout = findStoreLayout(settings, uri.parameters);
    if (
      uri.kind === 'daemon' ||
      (uri.kind === 'auto' && existsSync(layout.stateDir) && !isWritable(layout.stateDir))
    ) {
      throw new LarderError(
        'store-needs-daemon',
        `only the owner of ${layout.storeDir.path} can build into it with Larder: run this as root, or with --realiser nix through Nix's daemon`,
      );
    }
    const store = await LocalStore.open(layout, { ...localStoreOptions(settings), onWait: options.onWait });
    return new LarderRealiser(settings, store, options);
  }

  async plan(derivation: string, signal?: AbortSignal): Promise<RealisationPlan> {
    return this.#withBuilder(signal, async (builder) => {
      const plan = await builder.plan([this.#target(derivation)]);
      if (plan.unknown.length > 0) {
        const names = plan.unknown.map((path) => this.#store.storeDir.format(path)).join(', ');
        throw new LarderError('path-not-found', `no cache has ${names}, and nothing says how to build it`);
      }
      return {
        toBuild: plan.build.map((path) => this.#store.storeDir.format(path)),
        toFetch: plan.fetch.map(({ info }) => this.#store.storeDir.format(info.storePath)),
        downloadSize: plan.downloadSize,
        unpackedSize: plan.unpackedSize,
      };
    });
  }

  async realise(derivation: string, signal?: AbortSignal): Promise<string> {
    return this.#withBuilder(signal, async (builder) => {
      const [outputs] = await builder.realise([this.#target(derivation)]);
      const out = outputs?.get('out');
      if (out === undefined) throw new LarderError('output-absent', `${derivation} has no output 'out'`);
      return this.#store.storeDir.format(out);
    });
  }

  async isValid(path: string): Promise<boolean> {
    const storePath = this.#store.storeDir.parse(path);
    return (await this.#store.queryMissing([storePath])).size === 0;
  }

  async queryClosure(path: string): Promise<ClosurePath[]> {
    const infos = await this.#store.queryClosure([this.#store.storeDir.parse(path)]);
    return infos.map(({ storePath, narSize }) => ({
      path: this.#store.storeDir.format(storePath),
      narSize,
    }));
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#client?.[Symbol.asyncDispose]();
  }

  #target(derivation: string) {
    return {
      type: 'derivation',
      path: this.#store.storeDir.parse(derivation),
      outputs: ['out'],
    } as const;
  }

  async #withBuilder<Result>(
    signal: AbortSignal | undefined,
    action: (builder: Builder) => Promise<Result>,
  ): Promise<Result> {
    const settings = this.#settings;
    const { createClient } = await import('@larder/substituter/client');
    const { Builder } = await import('@larder/builder/builder');
    const { readBuildSettings } = await import('@larder/builder/build-settings');
    const { chooseTrust } = await import('@larder/substituter/settings/choose-trust');
    this.#client ??= createClient(settings, { onWait: this.#options.onWait });
    const progress = await this.#options.showProgress(this.#store.storeDir);
    try {
      await using builder = await Builder.open({
        store: this.#store,
        settings: readBuildSettings(settings),
        client: this.#client.context,
        trusted: await chooseTrust(settings),
        requireSignatures: settings.get('require-sigs'),
        // The plan has been shown already, as a summary.
        onEvent: (event) => event.type === 'planned' || progress.listener(event),
        signal,
      });
      return await action(builder);
    } finally {
      progress.finish();
    }
  }
}
