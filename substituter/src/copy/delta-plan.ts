import { MAX_DELTA_NAR } from '@larder/signing/delta';
import type { Hash } from '@larder/signing/hash';
import type { NarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import type { FoundPath } from '../source-set.js';
import type { DeltaBase } from './delta-bases.js';
import type { Destination } from './destination.js';

/** A delta to be tried before the archive. */
export interface PlannedDelta {
  readonly base: DeltaBase;
  /** Bytes, if it is known to be there. */
  readonly size: number | undefined;
  /** When one that is being made should be there, in milliseconds of `performance.now()`. */
  readonly due?: number;
}

/** Archives below this size, in bytes as the cache has them, are not worth a delta. */
const smallestArchive = 512;

/** From this size on a cache that cannot be asked is tried for a delta: a miss costs a round trip. */
const probedArchive = 1024 * 1024;

/** What a delta may be of the archive to be worth the work. */
const worth = 0.9;

export interface DeltaPlanOptions {
  readonly destination: Pick<Destination, 'findDeltaBases' | 'holdDeltaBases'>;
  readonly signal?: AbortSignal;
}

/**
 * The plan with deltas where the destination has something to apply them to and the source offers them. Never fails:
 * whatever goes wrong, archives remain.
 */
export async function planDeltas(
  plan: readonly FoundPath[],
  { destination, signal }: DeltaPlanOptions,
): Promise<FoundPath[]> {
  const wanted = plan.filter(isWorthADelta);
  if (wanted.length === 0 || destination.findDeltaBases === undefined) return [...plan];
  const bases = await destination.findDeltaBases(plan.map(({ info }) => info));
  const deltas = new Map<StorePath, PlannedDelta>();
  for (const [source, paths] of bySource(wanted.filter(({ info }) => bases.has(info.storePath)))) {
    try {
      for (const [path, delta] of await offersOf(source, paths, { bases, signal })) deltas.set(path, delta);
    } catch {
      signal?.throwIfAborted();
    }
  }
  await destination.holdDeltaBases?.([...deltas.values()].map(({ base }) => base.storePath));
  return plan.map((found) => {
    const delta = deltas.get(found.info.storePath);
    return delta === undefined ? found : { ...found, delta };
  });
}

function isWorthADelta({ info, source }: FoundPath): boolean {
  if (!(source instanceof BinaryCache) || info.narSize > MAX_DELTA_NAR) return false;
  return ((info as NarInfo).fileSize ?? info.narSize) >= smallestArchive;
}

function bySource(paths: readonly FoundPath[]): Map<BinaryCache, PathInfo[]> {
  const groups = new Map<BinaryCache, PathInfo[]>();
  for (const { info, source } of paths) {
    const group = groups.get(source as BinaryCache);
    if (group === undefined) groups.set(source as BinaryCache, [info]);
    else group.push(info);
  }
  return groups;
}

interface OfferOptions {
  readonly bases: ReadonlyMap<StorePath, readonly DeltaBase[]>;
  readonly signal: AbortSignal | undefined;
}

async function offersOf(
  source: BinaryCache,
  paths: readonly PathInfo[],
  { bases, signal }: OfferOptions,
): Promise<Map<StorePath, PlannedDelta>> {
  const planned = new Map<StorePath, PlannedDelta>();
  const usable = (path: PathInfo) =>
    bases.get(path.storePath)!.filter(({ narSize }) => narSize <= MAX_DELTA_NAR);
  if (source.larder === undefined) {
    for (const path of paths) {
      const [base] = usable(path);
      const size = (path as NarInfo).fileSize ?? path.narSize;
      if (base !== undefined && size >= probedArchive) planned.set(path.storePath, { base, size: undefined });
    }
    return planned;
  }
  const wanted = paths.map((path) => ({
    narHash: bareHash(path.narHash),
    bases: usable(path).map(({ narHash }) => bareHash(narHash)),
  }));
  const offers = await source.larder.queryDeltas(wanted, signal);
  const offered = new Map(offers.map((offer) => [offer.narHash, offer]));
  for (const path of paths) {
    const offer = offered.get(bareHash(path.narHash));
    const base = usable(path).find(({ narHash }) => bareHash(narHash) === offer?.base);
    if (offer === undefined || base === undefined || !isWorthIts(offer.size ?? 0, path)) continue;
    const { size, seconds } = offer;
    const due = seconds === undefined ? {} : { due: performance.now() + seconds * 1000 };
    planned.set(path.storePath, { base, size, ...(size === undefined ? due : {}) });
  }
  return planned;
}

/** Whether a delta of so many bytes is enough below the archive to be worth the work. */
export function isWorthIts(size: number, path: PathInfo): boolean {
  return size <= ((path as NarInfo).fileSize ?? path.narSize) * worth;
}

/** As the download API names archives: nix32 without a prefix. */
export function bareHash(hash: Hash): string {
  return hash.format('nix32', { prefix: false });
}
