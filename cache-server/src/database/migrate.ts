import { type Kysely, Migrator } from 'kysely';
import type { Dialect } from './database.js';
import { initial } from './migrations/001-initial.js';
import { audit } from './migrations/002-audit.js';
import { pins } from './migrations/003-pins.js';
import { lifeCycle } from './migrations/004-life-cycle.js';
import { upstream } from './migrations/005-upstream.js';
import { unpackedBytes } from './migrations/006-unpacked-bytes.js';
import { tokenIssuers } from './migrations/010-token-issuers.js';
import { web } from './migrations/020-web.js';
import { deltas } from './migrations/030-deltas.js';
import { adoptedNars } from './migrations/040-adopted-nars.js';
import type { Schema } from './schema.js';

/** Brings the tables up to date. Several replicas may do so at once: Kysely's migrator holds a lock. */
export async function migrate(db: Kysely<Schema>, dialect: Dialect): Promise<void> {
  const migrator = new Migrator({
    db,
    // Numbers are given out in blocks.
    allowUnorderedMigrations: true,
    provider: {
      getMigrations: async () => ({
        '001-initial': initial(dialect),
        '002-audit': audit(dialect),
        '003-pins': pins(),
        '004-life-cycle': lifeCycle(dialect),
        '005-upstream': upstream(),
        '006-unpacked-bytes': unpackedBytes(),
        '030-deltas': deltas(),
        '040-adopted-nars': adoptedNars(),
        '010-token-issuers': tokenIssuers(),
        '020-web': web(dialect),
      }),
    },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error instanceof Error ? error : new Error(String(error));
}
