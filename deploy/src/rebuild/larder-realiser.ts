import { readBuildSettings } from '@larder/builder/build-settings';
import { Builder } from '@larder/builder/builder';
import type { BuildListener } from '@larder/builder/realise/build-event';
import { LarderError } from '@larder/signing/errors';
import type { StoreDir } from '@larder/signing/store-path';
import { type Client, createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { isCacheUri, openMachineStore } from '@larder/substituter/open-store';
import { chooseTrust } from '@larder/substituter/settings/choose-trust';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { ClosurePath, EngineOptions, RealisationPlan, Realiser } from './pipeline.js';

/** Shows builds and transfers as they go. */
export interface ProgressView {
  readonly listener: BuildListener;
  finish(): void;
}

export interface LarderRealiserOptions extends EngineOptions {
  readonly showProgress: (storeDir: StoreDir) => ProgressView;
  readonly onWait?: (path: string) => void;
}

/** Realisation by Larder's own builder: from caches, verified, or built in a sandbox. */
export class LarderRealiser implements Realiser {
  readonly #client: Client;
  readonly #store: LocalStore;
  readonly #options: LarderRealiserOptions;

  private constructor(client: Client, store: LocalStore, options: LarderRealiserOptions) {
    this.#client = client;
    this.#store = store;
    this.#options = options;
  }

  /** @throws `store-needs-daemon` where the store is not the user's to write */
  static async open(options: LarderRealiserOptions): Promise<LarderRealiser> {
    const overrides = options.settings.map(([name, value]) => ({ name, value, origin: 'command line' }));
    const client = createClient(loadSettings(undefined, overrides), { onWait: options.onWait });
    const { settings } = client.context;
    const uri = parseStoreUri(options.root === '' ? settings.get('store') : `local?root=${options.root}`);
    if (isCacheUri(uri)) {
      await client[Symbol.asyncDispose]();
      throw new LarderError('store-unusable', `nothing can be built into the cache ${settings.get('store')}`);
    }
    const store = await openMachineStore(uri, client.context);
    if (store instanceof LocalStore) return new LarderRealiser(client, store, options);
    await store.close();
    await client[Symbol.asyncDispose]();
    throw new LarderError(
      'store-needs-daemon',
      `only the owner of ${store.storeDir.path} can build into it with Larder: run this as root, or with --realiser nix through Nix's daemon`,
    );
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

  async queryClosure(path: string): Promise<ClosurePath[]> {
    const infos = await this.#store.queryClosure([this.#store.storeDir.parse(path)]);
    return infos.map(({ storePath, narSize }) => ({
      path: this.#store.storeDir.format(storePath),
      narSize,
    }));
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#client[Symbol.asyncDispose]();
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
    const { settings } = this.#client.context;
    const progress = this.#options.showProgress(this.#store.storeDir);
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
