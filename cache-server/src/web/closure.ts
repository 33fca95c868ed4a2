import { inBatches } from '../database/batches.js';
import type { Database } from '../database/database.js';

/** A path in a closure. */
export interface ClosureNode {
  readonly hashPart: string;
  readonly name: string;
  /** Bytes, unpacked. */
  readonly size: number;
  /** Of the closure's paths; not itself. */
  readonly references: readonly string[];
}

export interface Closure {
  readonly root: string;
  readonly nodes: ReadonlyMap<string, ClosureNode>;
  /** Bytes, unpacked. */
  readonly size: number;
  /** Whether it was too large to follow to its end. */
  readonly isCut: boolean;
}

/** Paths of a closure that are followed. A system has some 3,000, a build environment of everything 20,000. */
const MAX_PATHS = 30_000;

/** Everything that a path needs, as far as the cache has it: one pair of queries a level, however many paths are on it. */
export async function queryClosure(
  { read }: Database,
  cacheId: number,
  root: string,
): Promise<Closure | undefined> {
  const nodes = new Map<string, ClosureNode>();
  let level = [root];
  let size = 0;
  while (level.length > 0 && nodes.size < MAX_PATHS) {
    const [paths, edges] = await Promise.all([
      inBatches(level, (batch) =>
        read
          .selectFrom('paths')
          .select(['hash_part', 'name', 'nar_size'])
          .where('cache_id', '=', cacheId)
          .where('hash_part', 'in', batch)
          .execute(),
      ),
      inBatches(level, (batch) =>
        read
          .selectFrom('path_references')
          .select(['hash_part', 'reference'])
          .where('cache_id', '=', cacheId)
          .where('hash_part', 'in', batch)
          .orderBy('reference')
          .execute(),
      ),
    ]);
    const references = new Map<string, string[]>();
    for (const { hash_part, reference } of edges) {
      const list = references.get(hash_part);
      if (list === undefined) references.set(hash_part, [reference]);
      else list.push(reference);
    }
    const next = new Set<string>();
    for (const { hash_part, name, nar_size } of paths) {
      const own = references.get(hash_part) ?? [];
      nodes.set(hash_part, { hashPart: hash_part, name, size: nar_size, references: own });
      size += nar_size;
      for (const reference of own) next.add(reference);
    }
    level = [...next].filter((hashPart) => !nodes.has(hashPart));
  }
  return nodes.has(root) ? { root, nodes, size, isCut: level.length > 0 } : undefined;
}
