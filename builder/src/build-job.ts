import { makeStorePath, outputPathName } from '@larder/signing/content-address';
import type { Derivation } from '@larder/signing/derivation';
import { outputPlaceholder } from '@larder/signing/derivation-hash';
import { Hash } from '@larder/signing/hash';
import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { BuildSettings } from './build-settings.js';
import type { DerivationOptions } from './derivation/derivation-options.js';
import type { BuildRounds } from './output/build-rounds.js';
import type { FifoPool } from './process/fifo-pool.js';

/** What all builds of one run share. */
export interface BuildContext {
  readonly store: LocalStore;
  readonly settings: BuildSettings;
  readonly fifos: FifoPool;
  /** Where build directories are made. */
  readonly temporaryDirectory: string;
  /** The caller's environment variables, for derivations that may see some. */
  readonly hostEnvironment: Readonly<Record<string, string | undefined>>;
  /** The bytes of a file on the network, tried again as the settings say. */
  readonly download: (url: URL, signal?: AbortSignal) => AsyncIterable<Uint8Array>;
}

/** An output before the build. */
export interface InitialOutput {
  /** Its path, unless only the build can tell. */
  readonly path: StorePath | undefined;
  readonly valid: boolean;
}

/** Build it, build it again and compare, or build it again to replace what is damaged. */
export type BuildMode = 'build' | 'check' | 'repair';

/** One derivation, ready to be built: its inputs are valid and the locks of its outputs are held. */
export interface BuildJob {
  readonly path: StorePath;
  readonly derivation: Derivation;
  readonly options: DerivationOptions;
  /** The closure of all inputs. */
  readonly inputs: ReadonlySet<StorePath>;
  readonly outputs: ReadonlyMap<string, InitialOutput>;
  readonly mode: BuildMode;
  /** Where the build is one of several that are compared before anything is kept. */
  readonly rounds?: BuildRounds;
  /** Each line of the log as it comes. */
  readonly onLogLine: (line: string) => void;
  /** The builder says which phase it is in. */
  readonly onPhase: (phase: string) => void;
  /** Remarks to the user, such as where a failed build's directory was kept. */
  readonly onNote: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** Where a build makes its outputs, and what must be rewritten for that on the way in. */
export interface ScratchOutputs {
  readonly paths: ReadonlyMap<string, StorePath>;
  readonly inputRewrites: ReadonlyMap<string, string>;
}

/**
 * Chooses the paths a build makes its outputs at. They are the outputs' own where those are known, and free: in a
 * sandbox they always are. Otherwise stand-ins of the same length, made as Nix makes them.
 */
export function chooseScratchOutputs(job: BuildJob, store: LocalStore, sandboxed: boolean): ScratchOutputs {
  const paths = new Map<string, StorePath>();
  const inputRewrites = new Map<string, string>();
  for (const [name, { path, valid }] of job.outputs) {
    const scratch =
      path === undefined
        ? standIn(job, store, `name:${name}`, outputPathName(job.derivation.name, name))
        : valid && !sandboxed
          ? standIn(job, store, path, storePathName(path))
          : path;
    paths.set(name, scratch);
    inputRewrites.set(outputPlaceholder(name), store.storeDir.format(scratch));
    if (path !== undefined && path !== scratch)
      inputRewrites.set(storePathHashPart(path), storePathHashPart(scratch));
  }
  return { paths, inputRewrites };
}

function standIn(job: BuildJob, store: LocalStore, what: string, name: string): StorePath {
  const hash = new Hash('sha256', new Uint8Array(32));
  return makeStorePath(store.storeDir, `rewrite:${job.path}:${what}`, { hash, name });
}
