import type { FlakeLocking } from '@larder/builder/eval/flake-locking';
import type { EngineName } from '../rebuild/engine-name.js';
import type { RebuildRequest } from '../rebuild/rebuild.js';
import { usageError } from './command.js';

export interface RebuildOptions {
  readonly include?: readonly string[];
  readonly file?: string;
  readonly attr?: string;
  readonly flake?: string;
  readonly writeLockFile: boolean;
  readonly updateLockFile: boolean;
  readonly recreateLockFile?: true;
  readonly updateInput?: readonly string[];
  readonly overrideInput?: readonly string[];
  readonly commitLockFile?: true;
  readonly profileName?: string;
  readonly rollback?: true;
  readonly to?: number;
  readonly storePath?: string;
  readonly targetHost?: string;
  readonly buildHost?: string;
  readonly useRemoteSudo?: true;
  readonly useSubstitutes?: true;
  readonly root: string;
  readonly evaluator: EngineName;
  readonly realiser: EngineName;
  readonly option?: readonly string[];
  readonly maxJobs?: string;
  readonly cores?: string;
  readonly keepGoing?: true;
  readonly showTrace?: true;
  readonly specialisation?: string;
  readonly outLink: string | false;
  readonly bootMenu: 'auto' | 'always' | 'never';
  readonly installBootloader?: true;
  readonly hook?: string;
  /** The cache; `false` where a configured one is not to be used. */
  readonly pin?: string | false;
  readonly pinName?: string;
  readonly tokenFile?: string;
  readonly json?: true;
}

/** One call of the verb: what Commander leaves to be sorted out is. */
export interface RebuildCall {
  /** Words after the action. */
  readonly others: readonly string[];
  readonly settings: readonly (readonly [name: string, value: string])[];
  /** `--override-input`. */
  readonly overrides: readonly (readonly [input: string, reference: string])[];
  readonly options: RebuildOptions;
}

export function toRequest(call: RebuildCall): RebuildRequest {
  const { options } = call;
  return {
    elsewhere: options.targetHost !== undefined,
    choice: { file: options.file, attribute: options.attr, flake: options.flake },
    evaluation: {
      searchPath: options.include ?? [],
      showTrace: options.showTrace ?? false,
      ...(options.flake === undefined ? {} : { flakeLock: flakeLocking(call) }),
    },
    profileName: options.profileName,
    bootMenu: options.bootMenu,
    installBootLoader: options.installBootloader,
    specialisation: options.specialisation,
  };
}

/** @throws `usage` for options that would have no effect */
export function checkLockOptions({ options, overrides }: RebuildCall): void {
  const { recreateLockFile, updateInput, commitLockFile, flake, evaluator } = options;
  const given = [
    ...(recreateLockFile ? ['--recreate-lock-file'] : []),
    ...(updateInput === undefined ? [] : ['--update-input']),
    ...(overrides.length === 0 ? [] : ['--override-input']),
    ...(commitLockFile ? ['--commit-lock-file'] : []),
  ].join(', ');
  if (given === '') return;
  if (flake === undefined) throw usageError(`${given}: that is for a flake, which --flake names`);
  if (evaluator === 'nix')
    throw usageError(`${given}: 'nix-instantiate' locks no flake; leave --evaluator nix out`);
}

/** As with `nixos-rebuild`, inputs from elsewhere are for this time, and no lock file is written. */
function flakeLocking({ options, overrides }: RebuildCall): FlakeLocking {
  const { updateLockFile, writeLockFile, recreateLockFile, updateInput, commitLockFile } = options;
  const keep = !writeLockFile || overrides.length > 0;
  return {
    mode: keep ? 'keep' : updateLockFile ? 'write' : 'refuse',
    recreate: recreateLockFile,
    updates: updateInput,
    overrides,
    commit: commitLockFile,
  };
}
