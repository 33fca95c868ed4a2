import type { Database } from '../database/database.js';
import { addUsage } from '../database/tables/cache-usage.js';
import { insertNarFacts } from '../database/tables/nar-facts.js';
import { upsertNarFile } from '../database/tables/nar-files.js';
import { insertNar, type NarRow, prolongNar } from '../database/tables/nars.js';
import { transact } from '../database/transaction.js';
import type { Lease } from '../leases/leases.js';
import type { NarReading } from './nar-reader.js';
import { packFacts } from './stored-facts.js';

export interface NarRecord {
  readonly row: NarRow;
  readonly reading: NarReading;
  /** On the NAR. It is settled with the record. */
  readonly lease: Lease;
  /** Until when it is kept while no path has it, in milliseconds. */
  readonly expiresAt: number;
  /** What a stock client calls it. */
  readonly fileName?: string | undefined;
}

/** Enters a NAR that is stored and verified into the database. One that is there already is kept for longer. */
export async function recordNar(
  database: Database,
  { row, reading, lease, expiresAt, fileName }: NarRecord,
): Promise<void> {
  const { cache_id, nar_hash: narHash } = row;
  const facts = await packFacts(row, reading);
  await transact(database, async (db) => {
    await lease.settle(db);
    const isNew = await insertNar(db, row);
    await insertNarFacts(db, facts);
    if (fileName !== undefined) await upsertNarFile(db, { cache_id, file_name: fileName, nar_hash: narHash });
    if (isNew)
      await addUsage(db, cache_id, { nars: 1, nar_bytes: row.file_size, unpacked_bytes: row.nar_size });
    else await prolongNar(db, cache_id, { narHash, expiresAt });
  });
  lease.settled();
}
