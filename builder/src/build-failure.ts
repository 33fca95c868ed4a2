import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { BuilderEnd } from './process/builder-process.js';

export type BuildFailureCode =
  /** The builder failed, and would again. */
  | 'build-failed'
  | 'build-timed-out'
  | 'build-log-limit'
  | 'build-cancelled'
  /** This machine cannot run it: another system, or features it lacks. */
  | 'build-unsupported'
  /** An output is missing or is not as the derivation says it must be. */
  | 'output-rejected'
  | 'hash-mismatch'
  | 'not-deterministic'
  /** With `repeat`: it came out differently when it was built again. */
  | 'rounds-differ'
  | 'dependency-failed';

/** A derivation could not be built. `fields.derivation` is its path. */
export class BuildFailure extends LarderError<BuildFailureCode> {
  readonly derivation: StorePath;

  constructor(
    code: BuildFailureCode,
    message: string,
    details: { readonly derivation: StorePath; readonly cause?: unknown; readonly [field: string]: unknown },
  ) {
    const { cause, ...fields } = details;
    super(code, message, { cause, fields });
    this.derivation = details.derivation;
  }
}

/**
 * The exit status Nix's commands give for failures of these kinds together: 100 and up tell that builds failed
 * and how, 1 anything else. Reference: nix-build(1), "special exit codes".
 */
export function nixExitStatus(failures: Iterable<BuildFailureCode>): number {
  let mask = 0;
  for (const code of failures) {
    if (code === 'build-timed-out') mask |= 0b0000101;
    else if (code === 'hash-mismatch') mask |= 0b0000110;
    else if (code === 'not-deterministic') mask |= 0b0001000;
    else if (code === 'build-failed') mask |= 0b0000100;
  }
  return mask === 0 ? 1 : mask | 0b1100000;
}

/** How a builder ended, as the end of a sentence, or `undefined` when it succeeded. */
export function describeEnd(end: BuilderEnd): string | undefined {
  switch (end.type) {
    case 'exit':
      return end.status === 0 ? undefined : `failed with exit code ${end.status}`;
    case 'signal':
      return `failed due to signal ${end.name}`;
    case 'timeout':
      return `timed out after ${end.seconds} seconds`;
    case 'silence':
      return `timed out after ${end.seconds} seconds of silence`;
    case 'log-limit':
      return 'was killed after writing more log output than allowed';
    case 'cancelled':
      return 'was cancelled';
  }
}

/** The kind of failure that an end is. */
export function failureCode(end: BuilderEnd): BuildFailureCode {
  switch (end.type) {
    case 'exit':
    case 'signal':
      return 'build-failed';
    case 'timeout':
    case 'silence':
      return 'build-timed-out';
    case 'log-limit':
      return 'build-log-limit';
    case 'cancelled':
      return 'build-cancelled';
  }
}
