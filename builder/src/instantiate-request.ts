import type { FlakeLocking } from './eval/flake-locking.js';
import type { SearchPathEntry } from './eval/search-path-entry.js';

/** An expression to evaluate, by where it is. */
export type ExpressionSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'stdin'; readonly text: string };

/** What `--arg` or `--argstr` gives a function. */
export interface AutoArgument {
  readonly name: string;
  readonly kind: 'expression' | 'string' | 'file';
  readonly value: string;
}

/** Settings of the language as they were given: only what differs from Nix's defaults. */
export interface LanguageSettings {
  readonly showTrace: boolean;
  readonly maxCallDepth: number;
  readonly pureEval: boolean;
  readonly restrictEval: boolean;
  readonly allowedUris: readonly string[];
  readonly allowImportFromDerivation: boolean;
  readonly traceVerbose: boolean;
  readonly abortOnWarn: boolean;
  /** Whether results are kept and given again. */
  readonly evalCache: boolean;
  readonly currentSystem: string;
  /** Tokens for forges, by what they are for. */
  readonly accessTokens: Readonly<Record<string, string>>;
  readonly experimentalFeatures: readonly string[];
  /** What becomes of the lock file of the flake that is evaluated; without it, nothing does. */
  readonly flakeLock?: FlakeLocking;
  /** The first line of a commit that writes it; without, or if empty, Nix's. */
  readonly commitLockFileSummary?: string;
  readonly lintUrlLiterals: 'ignore' | 'warn' | 'fatal';
  readonly lintShortPathLiterals: 'ignore' | 'warn' | 'fatal';
  readonly lintAbsolutePathLiterals: 'ignore' | 'warn' | 'fatal';
}

/** What to do with the value of each expression and attribute. */
export type EvaluationGoal =
  /** `captured`: what it would print is for the caller (`EvaluateOptions.onOutput`). */
  | { readonly kind: 'instantiate'; readonly captured?: true }
  | {
      readonly kind: 'print';
      readonly format: 'plain' | 'raw' | 'json' | 'xml' | 'pretty';
      readonly strict: boolean;
      readonly location: boolean;
    }
  | { readonly kind: 'parse' }
  | { readonly kind: 'find-file'; readonly names: readonly string[] }
  | { readonly kind: 'repl' };

/** One evaluation, as the command line asks for it and the evaluating thread gets it. All text is ordinary text. */
export interface EvaluationRequest {
  readonly goal: EvaluationGoal;
  readonly sources: readonly ExpressionSource[];
  readonly attrPaths: readonly string[];
  readonly arguments: readonly AutoArgument[];
  readonly searchPath: readonly SearchPathEntry[];
  readonly settings: LanguageSettings;
  /** Whether nothing is written to the store. */
  readonly readOnly: boolean;
  /** Where to make garbage collector roots of what is instantiated. */
  readonly addRoot: string | undefined;
  /** Whether to warn when there is no such root; it does unless this is false. */
  readonly gcWarning?: boolean;
  /** Whether messages are in the form of `--log-format internal-json`. */
  readonly structuredLog?: boolean;
  readonly storeDir: string;
  /** Where the store directory is on this machine. */
  readonly realStoreDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly workingDirectory: string;
}
