import type { FlakeLocking } from '@larder/builder/eval/flake-locking';
/*
 * The two engines behind `larder rebuild`: one turns a configuration into a derivation, the other makes the
 * derivation's output be in the store. Store paths are full and logical (`/nix/store/…`) throughout.
 */

/** What is evaluated: an attribute of a file (or of a search path entry), or an expression. */
export type SystemExpression =
  | { readonly file: string; readonly attribute: string }
  | { readonly expression: string; readonly attribute: string };

/** What every engine needs to know. */
export interface EngineOptions {
  /** The directory that stands for the machine's root, `''` for the machine's own. */
  readonly root: string;
  /** Over those of nix.conf. */
  readonly settings: readonly (readonly [name: string, value: string])[];
}

export interface EvaluationOptions {
  /** `-I`, each `name=path` or a path, before those of `NIX_PATH`. */
  readonly searchPath: readonly string[];
  readonly showTrace: boolean;
  /** What is done about a flake's lock file. */
  readonly flakeLock?: FlakeLocking;
  readonly signal?: AbortSignal;
}

export interface Evaluator {
  /**
   * The derivation that {@link instantiate} would give, when that is known without an evaluation: nothing that it
   * read has changed. The derivation need not be in the store any more.
   */
  recall(expression: SystemExpression, options: EvaluationOptions): Promise<string | undefined>;
  /**
   * Evaluates to one derivation and writes it to the store.
   * @returns the derivation's path
   * @throws `evaluation-failed`: the message is for the one who wrote the configuration
   */
  instantiate(expression: SystemExpression, options: EvaluationOptions): Promise<string>;
}

/** What realising a derivation would take. */
export interface RealisationPlan {
  /** Derivations to build. */
  readonly toBuild: readonly string[];
  /** Paths that caches have. */
  readonly toFetch: readonly string[];
  /** Bytes to download, and what they are unpacked; absent where the engine does not tell. */
  readonly downloadSize?: number;
  readonly unpackedSize?: number;
}

export interface ClosurePath {
  readonly path: string;
  readonly narSize: number;
}

export interface Realiser {
  /** Finds out what is missing; changes nothing. */
  plan(derivation: string, signal?: AbortSignal): Promise<RealisationPlan>;
  /**
   * Makes the derivation's output `out` valid in the store, from caches or by building; shows progress on
   * standard error.
   * @throws `realisation-failed`
   */
  realise(derivation: string, signal?: AbortSignal): Promise<string>;
  /** Whether a path is valid in the store. */
  isValid(path: string, signal?: AbortSignal): Promise<boolean>;
  /** A valid path and all it refers to. */
  queryClosure(path: string, signal?: AbortSignal): Promise<ClosurePath[]>;
  close(): Promise<void>;
}
