import { lstatSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { NarSummary, NarWork } from '@larder/signing/nar-work';
import { isContentAddressed, type PathInfo, type ValidPathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { checkTrust, type Trust } from '@larder/signing/trust';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { mapConcurrently } from '../concurrency.js';
import { LocalStore } from '../local-store/local-store.js';
import type { PathSource } from '../store.js';

export interface VerifyOptions {
  readonly source: PathSource;
  readonly work: NarWork;
  /** Read every path and compare its hash. */
  readonly contents: boolean;
  /** Whose signatures count; without it signatures are not looked at. */
  readonly trusted?: Trust;
  readonly concurrency: number;
  readonly onVerified?: (verdict: Verdict) => void;
  readonly signal?: AbortSignal;
}

/** What is wrong with a path, if anything. */
export type Fault = 'missing' | 'modified' | 'untrusted';

export interface Verdict {
  readonly path: StorePath;
  readonly faults: readonly Fault[];
  /** What to tell a person, one line a fault. */
  readonly details: readonly string[];
  /** Bytes of NAR that were read. */
  readonly bytes: number;
}

/**
 * Verifies paths of a store or cache: that they are there, that their contents have the hash that is recorded, and
 * that a trusted key signed them (or their own name proves them, or they were built here). Gives the verdicts in the
 * order of `paths`.
 * @throws what reading throws for reasons other than the path's own state
 */
export async function verifyPaths(paths: readonly StorePath[], options: VerifyOptions): Promise<Verdict[]> {
  return mapConcurrently(paths, options.concurrency, async (path) => {
    options.signal?.throwIfAborted();
    const verdict = await verifyPath(path, options);
    options.onVerified?.(verdict);
    return verdict;
  });
}

async function verifyPath(path: StorePath, options: VerifyOptions): Promise<Verdict> {
  const { source, signal } = options;
  const info = await source.queryPathInfo(path, { signal });
  if (info === undefined || (source instanceof LocalStore && !isOnDisk(source, path))) {
    const detail = info === undefined ? `is not in ${source.uri}` : 'is valid but its files are gone';
    return { path, faults: ['missing'], details: [detail], bytes: 0 };
  }
  const faults: Fault[] = [];
  const details: string[] = [];
  const found = (fault: Fault, detail: string): void => {
    faults.push(fault);
    details.push(detail);
  };
  if (options.trusted !== undefined) verifyTrust(info, options, found);
  if (options.contents) await verifyContents(info, options, found);
  return { path, faults, details, bytes: options.contents ? info.narSize : 0 };
}

type Found = (fault: Fault, detail: string) => void;

function verifyTrust(info: PathInfo, { source, trusted }: VerifyOptions, found: Found): void {
  // Built here: our own word is as good as a signature, and there is none.
  if ((info as ValidPathInfo).ultimate === true || isContentAddressed(info, source.storeDir)) return;
  const { registrationTime } = info as ValidPathInfo;
  try {
    checkTrust(info, {
      storeDir: source.storeDir,
      trusted: trusted!,
      requireSignatures: true,
      source: source.uri,
      isStore: !(source instanceof BinaryCache),
      // A key that has expired since was good for what came while it was not.
      at: registrationTime === undefined ? undefined : registrationTime * 1000,
    });
  } catch (error) {
    if (!(error instanceof LarderError)) throw error;
    found('untrusted', error.message);
  }
}

async function verifyContents(info: PathInfo, options: VerifyOptions, found: Found): Promise<void> {
  let got: NarSummary;
  try {
    got = await hashContents(info, options);
  } catch (error) {
    if (!(error instanceof LarderError)) throw error;
    found('modified', error.message);
    return;
  }
  if (got.narHash.equals(info.narHash) && got.narSize === info.narSize) return;
  const { narHash, narSize } = got;
  found(
    'modified',
    `has the hash ${narHash} (${narSize} bytes), not ${info.narHash} (${info.narSize} bytes)`,
  );
}

async function hashContents(info: PathInfo, { source, work, signal }: VerifyOptions): Promise<NarSummary> {
  if (source instanceof LocalStore) return work.hashPath(source.realPath(info.storePath), { signal });
  const { compression, bytes } = source.openPacked(info, { signal });
  return work.verifyNar(bytes, { compression, signal, maxSize: info.narSize }).result;
}

function isOnDisk(store: LocalStore, path: StorePath): boolean {
  // Not existsSync: a path may be a dangling link.
  return lstatSync(store.realPath(path), { throwIfNoEntry: false }) !== undefined;
}
