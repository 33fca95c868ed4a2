import type { Database } from '../database/database.js';
import { type NamePartsTable, queryNames } from '../database/tables/name-parts.js';
import { NIX32 } from '../http/path-parameters.js';

/** A path that was found. */
export interface FoundPath {
  readonly hash_part: string;
  readonly name: string;
  readonly nar_size: number;
  readonly created_at: number;
}

export interface SearchResult {
  readonly byHash: readonly FoundPath[];
  readonly byName: readonly FoundPath[];
  /** Whether there is more by name than is shown. */
  readonly hasMore: boolean;
}

/** Names that are looked at for one search, and paths that it gives: it costs the same on any number of paths. */
const MAX_CANDIDATES = 3000;
const PAGE = 500;
const MAX_NAMES = 120;
const MAX_PATHS = 200;
const MAX_BY_HASH = 20;
/** Shorter ones find too much to be meant. */
const MIN_HASH = 4;

/** A hash part, where the question is a whole store path or hash: no search is needed. */
export function wholeHash(question: string): string | undefined {
  const [, hash] = new RegExp(`^(?:\\S*/)?(${NIX32}{32})(?:-\\S*)?$`).exec(question.trim()) ?? [];
  return hash;
}

/**
 * Finds paths whose hash starts with the question, and paths whose name has all its words: the longest at the beginning of a
 * word of the name, the others anywhere.
 */
export async function searchPaths(
  database: Database,
  cacheId: number,
  question: string,
): Promise<SearchResult> {
  const words = question
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length === 0) return { byHash: [], byName: [], hasMore: false };
  const [byHash, { names, hasMore }] = await Promise.all([
    findByHash(database, cacheId, words),
    findNames(database, cacheId, words),
  ]);
  const rows =
    names.length === 0
      ? []
      : await selectPaths(database, cacheId)
          .where('name', 'in', names)
          .orderBy('name')
          .orderBy('created_at', 'desc')
          .limit(MAX_PATHS + 1)
          .execute();
  const rank = new Map(names.map((name, at) => [name, at]));
  const byName = rows.slice(0, MAX_PATHS).sort((left, right) => {
    const order = (rank.get(left.name) ?? 0) - (rank.get(right.name) ?? 0);
    return order === 0 ? right.created_at - left.created_at : order;
  });
  return { byHash, byName, hasMore: hasMore || rows.length > MAX_PATHS };
}

function selectPaths({ read }: Database, cacheId: number) {
  return read
    .selectFrom('paths')
    .select(['hash_part', 'name', 'nar_size', 'created_at'])
    .where('cache_id', '=', cacheId);
}

async function findByHash(
  database: Database,
  cacheId: number,
  [prefix = '', ...others]: readonly string[],
): Promise<FoundPath[]> {
  if (others.length > 0 || !new RegExp(`^${NIX32}{${MIN_HASH},32}$`).test(prefix)) return [];
  return selectPaths(database, cacheId)
    .where('hash_part', '>=', prefix)
    .where('hash_part', '<=', prefix.padEnd(32, 'z'))
    .orderBy('hash_part')
    .limit(MAX_BY_HASH)
    .execute();
}

async function findNames(
  { read }: Database,
  cacheId: number,
  words: readonly string[],
): Promise<{ readonly names: readonly string[]; readonly hasMore: boolean }> {
  const [prefix = ''] = [...words].sort((left, right) => right.length - left.length);
  const names = new Set<string>();
  let after: Pick<NamePartsTable, 'part' | 'name'> | undefined;
  for (let seen = 0; seen < MAX_CANDIDATES; seen += PAGE) {
    const rows = await queryNames(read, cacheId, {
      prefix,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    for (const { name } of rows) {
      const lower = name.toLowerCase();
      if (words.every((word) => lower.includes(word))) names.add(name);
      if (names.size > MAX_NAMES)
        return { names: sortNames([...names].slice(0, MAX_NAMES), prefix), hasMore: true };
    }
    after = rows.at(-1);
    if (rows.length < PAGE) return { names: sortNames([...names], prefix), hasMore: false };
  }
  return { names: sortNames([...names], prefix), hasMore: true };
}

const collator = new Intl.Collator('en', { numeric: true });

/** Names that begin with the word come first; newer versions before older ones. */
function sortNames(names: string[], prefix: string): string[] {
  const rank = (name: string): number => (name.toLowerCase().startsWith(prefix) ? 0 : 1);
  return names.sort((left, right) => {
    const order = rank(left) - rank(right) || packageOf(left).localeCompare(packageOf(right));
    return order === 0 ? collator.compare(right, left) : order;
  });
}

/** `openssl-3.0.15-dev` is of `openssl`. */
function packageOf(name: string): string {
  return /^(.*?)-\d/.exec(name)?.[1] ?? name;
}
