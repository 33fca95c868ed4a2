import type { ObjectInfo, ObjectStorage } from '../storage/storage.js';

export interface CopyOptions {
  /** Counts, and copies nothing. */
  readonly dryRun?: boolean;
  /** The source is one cache and no more, as stock Nix fills a bucket: its objects become those of a cache of this name. */
  readonly as?: string;
  /** Hears of every object that is dealt with. */
  readonly onObject?: (copied: Copied) => void;
}

export interface Copied {
  /** Objects that were copied now, or would be. */
  copied: number;
  bytes: number;
  /** Those that were there. */
  present: number;
}

/** Copied at once. */
const PARALLEL = 8;

/**
 * Copies every object of one storage to another, whatever the engines: NARs first and narinfos last, so that at no moment a
 * narinfo there names what is not. Begun again, it goes on: what is there, as large and no older, is left alone. What the
 * source lost since stays at the target, for `fsck` to find.
 */
export async function copyStorage(
  from: ObjectStorage,
  to: ObjectStorage,
  { dryRun = false, as, onObject }: CopyOptions = {},
): Promise<Copied> {
  const result: Copied = { copied: 0, bytes: 0, present: 0 };
  const keyAt = (key: string): string => (as === undefined ? key : `${as}/${key}`);
  for (const isTurn of TURNS) {
    const running = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | undefined;
    for await (const info of from.list('')) {
      if (!isTurn(info.key)) continue;
      if (failure !== undefined) break;
      const copy = copyOne(info)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => running.delete(copy));
      running.add(copy);
      if (running.size >= PARALLEL) await Promise.race(running);
    }
    await Promise.all(running);
    if (failure !== undefined) throw failure.error;
  }
  return result;

  async function copyOne(info: ObjectInfo): Promise<void> {
    const key = keyAt(info.key);
    const there = await to.head(key);
    if (there !== undefined && isCopy(info, there)) result.present++;
    else {
      if (!dryRun) await copyObject(info.key, key);
      result.copied++;
      result.bytes += info.size;
    }
    onObject?.(result);
  }

  async function copyObject(source: string, target: string): Promise<void> {
    await using object = await from.get(source);
    // Gone since it was listed.
    if (object === undefined) return;
    await using staged = await to.stage(object.body, { key: target, contentType: contentTypeOf(target) });
    await staged.publish(target);
  }
}

/** A NAR's name says what is in it; anything else may have been written again, and times of S3 are in whole seconds. */
function isCopy(source: ObjectInfo, target: ObjectInfo): boolean {
  return target.size === source.size && (isArchive(source.key) || target.modified >= source.modified);
}

const isNarInfo = (key: string): boolean => key.endsWith('.narinfo');
const isArchive = (key: string): boolean => /(^|\/)(nar|delta)\//.test(key);
const TURNS: readonly ((key: string) => boolean)[] = [
  isArchive,
  (key) => !isArchive(key) && !isNarInfo(key),
  isNarInfo,
];

function contentTypeOf(key: string): string {
  if (isNarInfo(key)) return 'text/x-nix-narinfo';
  if (/\/log\//.test(key)) return 'text/plain; charset=utf-8';
  if (/\/delta\//.test(key)) return 'application/zstd';
  if (isArchive(key)) return 'application/x-nix-nar';
  if (key.endsWith('/nix-cache-info')) return 'text/x-nix-cache-info';
  return 'application/json';
}
