import { setMaxListeners } from 'node:events';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { openResumable } from '@larder/substituter/http/resumable-body';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { type OpenContext, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
import type { PathSource } from '@larder/substituter/store';
import { BuildFailure } from './build-failure.js';
import type { BuildContext, BuildMode } from './build-job.js';
import type { BuildSettings } from './build-settings.js';
import { readBuilderEnvironment } from './config.js';
import { RemoteBuilders } from './machines/remote-builders.js';
import { FifoPool } from './process/fifo-pool.js';
import type { BuildListener } from './realise/build-event.js';
import { ForeignCaches } from './realise/foreign-caches.js';
import { OutputKnowledge } from './realise/output-knowledge.js';
import { makePlan, type Plan } from './realise/planner.js';
import { RealisationSource } from './realise/realisation-source.js';
import { type RealisedOutputs, Realiser } from './realise/realiser.js';
import { type RepairContext, repairClosure, repairPath } from './realise/repair.js';
import { Substituter } from './realise/substituter.js';
import type { Target } from './realise/targets.js';

export interface BuilderOptions {
  readonly store: LocalStore;
  readonly settings: BuildSettings;
  /** Settings and connections of the client. */
  readonly client: OpenContext;
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  readonly onEvent: BuildListener;
  readonly signal?: AbortSignal;
}

export interface RealiseOptions {
  readonly mode?: BuildMode;
}

/** The caches of a builder. */
interface OpenedCaches {
  /** All that are for this store's directory, asked as one. */
  readonly set: SourceSet | undefined;
  readonly caches: readonly BinaryCache[];
  /** Those for stores in another directory. */
  readonly foreign: readonly BinaryCache[];
}

/** Narinfos asked for at a time, over all connections to a cache. */
const queriesAtOnce = 128;

/** Realises derivations and paths into one store: the entry to this package for everybody who builds. */
export class Builder implements AsyncDisposable {
  readonly #options: BuilderOptions;
  readonly #context: BuildContext;
  readonly #sources: SourceSet | undefined;
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #substituter: Substituter | undefined;
  readonly #knowledge: OutputKnowledge;
  readonly #realisations: RealisationSource | undefined;
  readonly #foreign: readonly BinaryCache[];
  readonly #remote: RemoteBuilders | undefined;

  private constructor(options: BuilderOptions, { set: sources, caches, foreign }: OpenedCaches) {
    const { store, settings, client, signal } = options;
    this.#options = options;
    this.#sources = sources;
    this.#foreign = foreign;
    this.#signal = signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal]);
    setMaxListeners(0, this.#signal); // Each request listens, each build too.
    const environment = readBuilderEnvironment();
    this.#context = {
      store,
      settings,
      fifos: new FifoPool(environment.temporaryDirectory),
      temporaryDirectory: environment.temporaryDirectory,
      hostEnvironment: environment.variables,
      download: (url, abort) => openResumable(client.http, url, { signal: abort }),
    };
    this.#substituter = sources === undefined ? undefined : this.#createSubstituter(sources);
    this.#knowledge = new OutputKnowledge(store, settings);
    if (settings.buildMachines.length > 0) {
      const onNote = (text: string) => options.onEvent({ type: 'note', text });
      this.#remote = new RemoteBuilders({ store, settings, client, onNote });
    }
    if (caches.length > 0 && this.#knowledge.enabled) {
      const { trusted, requireSignatures, onEvent } = options;
      const onNote = (text: string) => onEvent({ type: 'note', text });
      this.#realisations = new RealisationSource({
        ...{ store, caches, trusted, requireSignatures, onNote, signal: this.#signal },
      });
    }
  }

  /** Opens the caches that the settings name; the store stays the caller's. */
  static async open(options: BuilderOptions): Promise<Builder> {
    const { client, settings, onEvent } = options;
    const uris = settings.substitute ? client.settings.get('substituters') : [];
    const opened = await Promise.all(uris.map((uri) => openSource(uri, client)));
    const isForeign = (source: PathSource): source is BinaryCache =>
      source instanceof BinaryCache && source.storeDir.path !== options.store.storeDir.path;
    const foreign = opened.filter(isForeign);
    const sources = opened.filter((source) => !isForeign(source));
    if (sources.length === 0) return new Builder(options, { set: undefined, caches: [], foreign });
    const set = new SourceSet(sources, {
      onDisabled: (source, error) =>
        onEvent({ type: 'note', text: `going on without ${source.uri}: ${(error as Error).message}` }),
    });
    const caches = sources.filter((source) => source instanceof BinaryCache);
    return new Builder(options, { set, caches, foreign });
  }

  /** What realising these takes. Nothing is fetched or built. */
  plan(targets: readonly Target[]): Promise<Plan> {
    return makePlan(targets, {
      store: this.#options.store,
      knowledge: this.#knowledge,
      substituter: this.#substituter,
      realisations: this.#realisations,
    });
  }

  /**
   * Realises all targets and gives their outputs, in the same order. Says first what there is to do.
   * @throws BuildFailure for a single failed target; `realise-failed` for several, with all under `fields.failures`
   */
  async realise(
    targets: readonly Target[],
    { mode = 'build' }: RealiseOptions = {},
  ): Promise<RealisedOutputs[]> {
    if (mode !== 'check') this.#options.onEvent({ type: 'planned', plan: await this.plan(targets) });
    const outputs = await this.#realise(targets, mode === 'repair' ? 'build' : mode);
    if (mode === 'repair') {
      await repairClosure(
        outputs.flatMap((each) => [...each.values()]),
        this.#repairContext(),
      );
    }
    return outputs;
  }

  /**
   * Puts good contents in the place of a valid path that is damaged or gone: from a cache, else by building it again.
   * @throws `repair-impossible`, BuildFailure
   */
  async repairPath(path: StorePath): Promise<void> {
    await repairPath(path, this.#repairContext());
  }

  #repairContext(): RepairContext {
    const { store, client, trusted, requireSignatures, onEvent } = this.#options;
    return {
      store,
      work: client.work,
      sources: this.#sources,
      trusted,
      requireSignatures,
      rebuild: (path) => this.#realise([{ type: 'derivation', path }], 'repair'),
      onNote: (text) => onEvent({ type: 'note', text }),
      signal: this.#signal,
    };
  }

  async #realise(targets: readonly Target[], mode: BuildMode): Promise<RealisedOutputs[]> {
    const realiser = new Realiser(this.#context, {
      substituter: this.#substituter,
      realisations: this.#realisations,
      knowledge: this.#knowledge,
      foreign: this.#foreignCaches(),
      remote: this.#remote,
      mode,
      onEvent: this.#options.onEvent,
      abort: this.#abort,
      signal: this.#signal,
    });
    const results = await Promise.allSettled(targets.map((target) => realiser.realise(target)));
    // What was cancelled by a failure must have ended before the store may be closed.
    await realiser.settle();
    const failed = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as Error] : [],
    );
    if (failed.length > 0) {
      this.#options.signal?.throwIfAborted();
      throw summarize(failed, realiser.failures);
    }
    return results.map((result) => (result as PromiseFulfilledResult<RealisedOutputs>).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#context.fifos.close();
    await this.#remote?.[Symbol.asyncDispose]();
    await this.#sources?.close();
    await Promise.all(this.#foreign.map((cache) => cache.close()));
  }

  #foreignCaches(): ForeignCaches | undefined {
    if (this.#foreign.length === 0) return undefined;
    const { store, onEvent } = this.#options;
    const onNote = (text: string): void => onEvent({ type: 'note', text });
    return new ForeignCaches(this.#foreign, { store, onNote, signal: this.#signal });
  }

  #createSubstituter(sources: SourceSet): Substituter {
    const { store, client, trusted, requireSignatures, onEvent } = this.#options;
    return new Substituter({
      store,
      sources,
      work: client.work,
      trusted,
      requireSignatures,
      queries: queriesAtOnce,
      transfers: Math.max(1, client.settings.get('max-substitution-jobs')),
      onEvent: (event) => onEvent({ type: 'copy', event }),
      onNote: (text) => onEvent({ type: 'note', text }),
      signal: this.#signal,
    });
  }
}

/** One error for all that failed: the failure itself if there is only one, and what was cancelled for it left out. */
function summarize(failed: readonly Error[], failures: readonly BuildFailure[]): Error {
  const cancelled = (error: Error) =>
    error.name === 'AbortError' || (error instanceof BuildFailure && error.code === 'build-cancelled');
  const own = failed.filter((error) => !cancelled(error));
  if (own.length === 1) return own[0]!;
  if (own.length === 0) return failures[0] ?? failed[0]!;
  const message = own.map((error) => error.message).join('\n');
  return new LarderError('realise-failed', message, { fields: { failures: own } });
}
