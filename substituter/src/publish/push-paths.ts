import { createReadStream } from 'node:fs';
import { decompress } from '@larder/signing/codec';
import { LarderError } from '@larder/signing/errors';
import type { Realisation } from '@larder/signing/realisation';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { mapConcurrently } from '../concurrency.js';
import type { CopyListener } from '../copy/copy-events.js';
import { copyPaths } from '../copy/copy-paths.js';
import type { Destination } from '../copy/destination.js';
import { findBuildLog } from '../local-store/build-logs.js';
import { LocalStore } from '../local-store/local-store.js';
import { SourceSet } from '../source-set.js';
import type { PathSource } from '../store.js';
import { type SideFiles, sideFilesOf } from './side-files.js';
import { UpstreamFilter, type Upstreams } from './upstreams.js';

export interface PushOptions {
  readonly source: PathSource;
  readonly destination: Destination;
  /** Push all that the paths refer to, too. */
  readonly recursive: boolean;
  readonly upstreams: Upstreams;
  /** Large paths sent at a time. */
  readonly jobs: number;
  readonly onEvent?: CopyListener;
  /** Says what did not go along. */
  readonly onNote?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface PushResult {
  /** Paths that were sent, references first. */
  readonly pushed: readonly StorePath[];
  readonly bytes: number;
  readonly logs: number;
  readonly realisations: number;
}

/** Logs and realisations under way at a time. */
const sideFilesAtOnce = 8;

/** Logs beyond this size in bytes stay here: servers refuse them. */
const largestLog = 64 * 1024 * 1024;

/**
 * Publishes paths with all they refer to, but for what the cache or an upstream has; then, from a store on this machine, the
 * logs of the builds that made them, and which outputs they are (realisations). What came in before a failure stays, and
 * the same call goes on from there.
 */
export async function pushPaths(roots: readonly StorePath[], options: PushOptions): Promise<PushResult> {
  const { source, destination, upstreams, signal } = options;
  // What is being read must not be collected meanwhile.
  if (source instanceof LocalStore) await source.addTempRoots(roots, signal);
  const filtered = upstreams.keyNames.size > 0 || upstreams.caches.length > 0;
  const { copied, bytes } = await copyPaths(roots, {
    sources: new SourceSet([source]),
    destination: filtered ? new UpstreamFilter(destination, source, upstreams) : destination,
    recursive: options.recursive,
    trusted: TrustedKeys.parse([]),
    requireSignatures: false,
    queries: upstreams.queries,
    transfers: options.jobs,
    onEvent: options.onEvent,
    signal,
  });
  const sideFiles = sideFilesOf(destination);
  if (sideFiles === undefined || !(source instanceof LocalStore)) {
    return { pushed: copied, bytes, logs: 0, realisations: 0 };
  }
  const along = new SideFilePush(source, sideFiles, options);
  const logs = await along.pushLogs(copied);
  // Of the roots also when they were there: a path may have been pushed before it was known what it is.
  const realisations = await along.pushRealisations([...copied, ...roots]);
  return { pushed: copied, bytes, logs, realisations };
}

class SideFilePush {
  readonly #store: LocalStore;
  readonly #sideFiles: SideFiles;
  readonly #options: PushOptions;

  constructor(store: LocalStore, sideFiles: SideFiles, options: PushOptions) {
    this.#store = store;
    this.#sideFiles = sideFiles;
    this.#options = options;
  }

  /** How many were sent. One that does not go through is said and no failure: the paths are there. */
  async pushLogs(paths: readonly StorePath[]): Promise<number> {
    const derivations = new Set<StorePath>();
    for (const path of paths) {
      const { deriver } = (await this.#store.queryPathInfo(path)) ?? {};
      if (deriver !== undefined && isDerivationPath(deriver)) derivations.add(deriver);
    }
    let sent = 0;
    await mapConcurrently([...derivations], sideFilesAtOnce, async (derivation) => {
      const log = await this.#readLog(derivation);
      if (log === undefined) return;
      await this.#tolerating(`the log of ${derivation}`, async () => {
        await this.#sideFiles.putLog(derivation, log, this.#options.signal);
        sent++;
      });
    });
    return sent;
  }

  async #readLog(derivation: StorePath): Promise<Uint8Array | undefined> {
    const found = findBuildLog(this.#store.layout.logDir, derivation);
    if (found === undefined) return undefined;
    const parts: Uint8Array[] = [];
    try {
      const bytes = decompress(createReadStream(found.path), found.compressed ? 'bzip2' : 'none', {
        maxSize: largestLog,
      });
      for await (const part of bytes) parts.push(part);
    } catch (error) {
      // Cut off, too long, or still being written: a path is no worse for having no log.
      this.#options.onNote?.(`the log of ${derivation} stays here: ${(error as Error).message}`);
      return undefined;
    }
    return Buffer.concat(parts);
  }

  async pushRealisations(paths: readonly StorePath[]): Promise<number> {
    const found = new Map<string, Realisation>();
    const add = (realisation: Realisation | undefined): void => {
      if (realisation === undefined || found.has(realisation.id)) return;
      for (const id of Object.keys(realisation.dependentRealisations))
        add(this.#store.realisations.query(id));
      found.set(realisation.id, realisation);
    };
    for (const path of new Set(paths)) for (const each of this.#store.realisations.queryOf(path)) add(each);
    await mapConcurrently([...found.values()], sideFilesAtOnce, (realisation) =>
      this.#sideFiles.putRealisation(realisation, this.#options.signal),
    );
    return found.size;
  }

  async #tolerating(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      if (!(error instanceof LarderError)) throw error;
      this.#options.onNote?.(`${what} stays here: ${error.message}`);
    }
  }
}
