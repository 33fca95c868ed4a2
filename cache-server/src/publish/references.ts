import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { MissingReferences } from '@larder/signing/upload';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryPathNames } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import type { PathDraft } from './draft.js';

/** References of `draft` to other paths. */
export function otherReferences(draft: PathDraft): StorePath[] {
  return draft.references.filter((reference) => reference !== draft.storePath);
}

/** What each draft refers to that neither the cache nor the batch itself has. */
export async function findMissingReferences(
  database: Database,
  cache: Cache,
  drafts: readonly PathDraft[],
): Promise<MissingReferences[]> {
  const batch = new Set(drafts.map((draft) => draft.storePath));
  const wanted = new Set(drafts.flatMap(otherReferences).filter((path) => !batch.has(path)));
  const names = await queryPathNames(database.read, cache.id, [...wanted].map(storePathHashPart));
  return missingReferences(drafts, names);
}

/** The same, of the names of those paths that the cache has. */
export function missingReferences(
  drafts: readonly PathDraft[],
  names: ReadonlyMap<string, string>,
  elsewhere: ReadonlySet<StorePath> = new Set(),
): MissingReferences[] {
  const batch = new Set(drafts.map((draft) => draft.storePath));
  const isPresent = (path: StorePath): boolean =>
    batch.has(path) || elsewhere.has(path) || names.get(storePathHashPart(path)) === storePathName(path);
  return drafts
    .map((draft) => ({
      path: draft.storePath,
      references: otherReferences(draft).filter((path) => !isPresent(path)),
    }))
    .filter((missing) => missing.references.length > 0);
}

/** @throws `references-missing` with the list */
export function refuseMissing(missing: readonly MissingReferences[]): void {
  const [first] = missing;
  if (first === undefined) return;
  const more = missing.length > 1 ? ` (and ${missing.length - 1} more such paths)` : '';
  throw new ServerError(
    'references-missing',
    `${first.path} refers to ${first.references.slice(0, 5).join(', ')}, which the cache does not have${more}; ` +
      'upload the whole closure',
    { fields: { missing } },
  );
}

/**
 * Checks that a batch sorted references first really is: a cycle cannot be.
 * @throws `references-cyclic`
 */
export function checkSorted(sorted: readonly PathDraft[]): void {
  const later = new Set(sorted.map((draft) => draft.storePath));
  for (const draft of sorted) {
    later.delete(draft.storePath);
    const cyclic = otherReferences(draft).find((path) => later.has(path));
    if (cyclic !== undefined)
      throw new ServerError(
        'references-cyclic',
        `${draft.storePath} and ${cyclic} refer to each other, which store paths never do`,
      );
  }
}
