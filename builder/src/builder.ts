import { LarderError } from '@larder/signing/errors';
import type { Trust } from '@larder/signing/trust';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { openResumable } from '@larder/substituter/http/resumable-body';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { type OpenContext, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
import { BuildFailure } from './build-failure.js';
import type { BuildContext, BuildMode } from './build-job.js';
import type { BuildSettings } from './build-settings.js';
import { readBuilderEnvironment } from './config.js';
import { FifoPool } from './process/fifo-pool.js';
import type { BuildListener } from './realise/build-event.js';
import { OutputKnowledge } from './realise/output-knowledge.js';
import { makePlan, type Plan } from './realise/planner.js';
import { RealisationSource } from './realise/realisation-source.js';
import { type RealisedOutputs, Realiser } from './realise/realiser.js';
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

/** Narinfos asked for at a time, over all connections to a cache. */
const queriesAtOnce = 64;

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

  private constructor(options: BuilderOptions, sources?: SourceSet, caches: readonly BinaryCache[] = []) {
    const { store, settings, client, signal } = options;
    this.#options = options;
    this.#sources = sources;
    this.#signal = signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal]);
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
    const sources = await Promise.all(uris.map((uri) => openSource(uri, client)));
    if (sources.length === 0) return new Builder(options);
    const set = new SourceSet(sources, {
      onDisabled: (source, error) =>
        onEvent({ type: 'note', text: `going on without ${source.uri}: ${(error as Error).message}` }),
    });
    return new Builder(
      options,
      set,
      sources.filter((source) => source instanceof BinaryCache),
    );
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
    if (mode === 'build') this.#options.onEvent({ type: 'planned', plan: await this.plan(targets) });
    const realiser = new Realiser(this.#context, {
      substituter: this.#substituter,
      realisations: this.#realisations,
      knowledge: this.#knowledge,
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
    await this.#sources?.close();
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
