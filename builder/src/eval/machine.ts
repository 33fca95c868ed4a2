import type { Attrs } from './attrs.js';
import type { FlakeLocking } from './flake-locking.js';
import type { Host } from './host.js';
import type { Slot, Value } from './values.js';

/** Settings of the language that hold for a whole evaluation; names as in nix.conf, in camel case. */
export interface EvalSettings {
  readonly showTrace: boolean;
  readonly maxCallDepth: number;
  readonly pureEval: boolean;
  readonly restrictEval: boolean;
  readonly allowedUris: readonly string[];
  readonly readOnly: boolean;
  readonly allowImportFromDerivation: boolean;
  readonly traceVerbose: boolean;
  readonly abortOnWarn: boolean;
  readonly currentSystem: string;
  readonly experimentalFeatures: ReadonlySet<string>;
  readonly flakeLock?: FlakeLocking;
  readonly commitLockFileSummary?: string;
  readonly lintUrlLiterals: 'ignore' | 'warn' | 'fatal';
  readonly lintShortPathLiterals: 'ignore' | 'warn' | 'fatal';
  readonly lintAbsolutePathLiterals: 'ignore' | 'warn' | 'fatal';
}

/** What builtins that evaluate files need of the evaluator. */
export interface Importer {
  /** The value of a file, evaluated once. */
  importFile(path: string): Value;
  /** A file evaluated afresh with `scope` as extra outermost variables. */
  importScoped(path: string, scope: Attrs): Value;
  /** The value of an expression given as text. */
  evaluateText(source: string, basePath: string): Value;
  /** A builtin by name. */
  builtin(name: string): Slot;
}

/**
 * The evaluator of this thread. Compiled code reaches its host and its call depth here rather than through
 * an argument, because a parameter more on every closure costs a tenth of the run time.
 */
export const machine: {
  depth: number;
  maxDepth: number;
  showTrace: boolean;
  /** For the outermost flake; unset once that is found. */
  flakeLock: FlakeLocking | undefined;
  settings: EvalSettings;
  host: Host;
  importer: Importer;
} = {
  depth: 0,
  maxDepth: 10_000,
  showTrace: false,
  flakeLock: undefined,
  settings: undefined as unknown as EvalSettings,
  host: undefined as unknown as Host,
  importer: undefined as unknown as Importer,
};
