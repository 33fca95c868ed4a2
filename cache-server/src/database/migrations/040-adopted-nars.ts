import type { Kysely } from 'kysely';

/** NARs that another tool stored stay where it put them, as it compressed them. */
export function adoptedNars(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema.alterTable('nars').addColumn('file', 'text').execute();
      await db.schema.alterTable('nars').addColumn('compression', 'text').execute();
    },
  };
}
