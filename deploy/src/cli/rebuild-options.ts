import type { EngineName } from '../rebuild/engine-name.js';
import type { RebuildRequest } from '../rebuild/rebuild.js';

export interface RebuildOptions {
  readonly include?: readonly string[];
  readonly file?: string;
  readonly attr?: string;
  readonly flake?: string;
  readonly writeLockFile: boolean;
  readonly updateLockFile: boolean;
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
  readonly options: RebuildOptions;
}

export function toRequest(options: RebuildOptions): RebuildRequest {
  return {
    elsewhere: options.targetHost !== undefined,
    choice: { file: options.file, attribute: options.attr, flake: options.flake },
    evaluation: {
      searchPath: options.include ?? [],
      showTrace: options.showTrace ?? false,
      ...(options.flake === undefined ? {} : { flakeLock: flakeLock(options) }),
    },
    profileName: options.profileName,
    bootMenu: options.bootMenu,
    installBootLoader: options.installBootloader,
    specialisation: options.specialisation,
  };
}

function flakeLock({ updateLockFile, writeLockFile }: RebuildOptions): 'write' | 'keep' | 'refuse' {
  if (!updateLockFile) return 'refuse';
  return writeLockFile ? 'write' : 'keep';
}
