import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** Links from build ids to files in NARs whose upload has not come yet: they name it as the client does. */
export interface DebugLinksTable {
  cache_id: number;
  build_id: string;
  /** `<file hash>.nar.xz`. */
  file_name: string;
  /** The file inside the NAR. */
  member: string;
}

export type DebugLinkRow = Selectable<DebugLinksTable>;

export async function upsertDebugLink(db: Kysely<Schema>, link: DebugLinkRow): Promise<void> {
  const { file_name, member } = link;
  await db
    .insertInto('debug_links')
    .values(link)
    .onConflict((conflict) => conflict.columns(['cache_id', 'build_id']).doUpdateSet({ file_name, member }))
    .execute();
}

export async function queryDebugLinks(
  db: Kysely<Schema>,
  cacheId: number,
  fileName: string,
): Promise<DebugLinkRow[]> {
  return db
    .selectFrom('debug_links')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('file_name', '=', fileName)
    .execute();
}

export async function deleteDebugLinks(db: Kysely<Schema>, cacheId: number, fileName: string): Promise<void> {
  await db
    .deleteFrom('debug_links')
    .where('cache_id', '=', cacheId)
    .where('file_name', '=', fileName)
    .execute();
}
