import { setImmediate as turn } from 'node:timers/promises';

/** Few enough for one statement on either engine: SQLite takes 32,766 parameters, and plans get slow before that. */
const BATCH = 500;

/** Runs a query over many keys in pieces, and joins what it gives. */
export async function inBatches<Key, Row>(
  keys: readonly Key[],
  query: (batch: readonly Key[]) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let at = 0; at < keys.length; at += BATCH) {
    // SQLite answers at once, so that promises alone would let nobody else have a turn before all are done.
    if (at > 0) await turn();
    for (const row of await query(keys.slice(at, at + BATCH))) rows.push(row);
  }
  return rows;
}
