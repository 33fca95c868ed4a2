import type { Kysely } from 'kysely';
import type { Schema } from '../schema.js';

/**
 * What stock clients call the NARs they sent: they name a NAR by the hash of their compressed file, which is not the file
 * we keep. The narinfo that follows such an upload names it so.
 */
export interface NarFilesTable {
  cache_id: number;
  /** The URL's last part: `<file hash>.nar.xz`. */
  file_name: string;
  nar_hash: string;
}

/** The NarHash of what was uploaded under this name. */
export async function queryNarFile(
  db: Kysely<Schema>,
  cacheId: number,
  fileName: string,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('nar_files')
    .select('nar_hash')
    .where('cache_id', '=', cacheId)
    .where('file_name', '=', fileName)
    .executeTakeFirst();
  return row?.nar_hash;
}

/** A name that is not a hash may be used again for other bytes: the last upload counts. */
export async function upsertNarFile(
  db: Kysely<Schema>,
  file: { readonly cache_id: number; readonly file_name: string; readonly nar_hash: string },
): Promise<void> {
  await db
    .insertInto('nar_files')
    .values(file)
    .onConflict((conflict) =>
      conflict.columns(['cache_id', 'file_name']).doUpdateSet({ nar_hash: file.nar_hash }),
    )
    .execute();
}
