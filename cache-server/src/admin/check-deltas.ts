import type { Cache } from '../caches/cache.js';
import type { DeltaRow } from '../database/tables/deltas.js';
import { queryNars } from '../database/tables/nars.js';
import { DeltaMaker } from '../deltas/delta-maker.js';
import type { Foundation } from '../start.js';
import { objectKeys } from '../storage/object-key.js';
import { readObject } from '../storage/storage.js';

/** What is wrong with a delta that the database knows. */
export interface DeltaFault {
  readonly kind: 'delta-missing' | 'delta-wrong';
  readonly why: string;
}

/** For applying deltas as the server does. */
export function openDeltaMaker({ storage, config }: Foundation): DeltaMaker {
  const { memory, max_nar: maxNar } = config.deltas;
  return new DeltaMaker({ storage, workers: 2, memory, maxNar });
}

/**
 * Compares a delta with its row, and with a maker, which applies it, with the NAR it is to give.
 * @param size as it was listed; asked for anew unless it is right
 */
export async function checkDelta(
  { storage, database }: Foundation,
  cache: Cache,
  { row, size, maker }: { readonly row: DeltaRow; readonly size?: number; readonly maker?: DeltaMaker },
): Promise<DeltaFault | undefined> {
  const key = objectKeys.delta(cache.name, row.base_hash, row.nar_hash);
  if (row.size === null) return undefined;
  const now = size === row.size ? size : (await storage.head(key))?.size;
  if (now === undefined) return { kind: 'delta-missing', why: `${key} is not there` };
  if (now !== row.size) return { kind: 'delta-wrong', why: `${key} has ${now} bytes, and had ${row.size}` };
  if (maker === undefined) return undefined;
  const nars = await queryNars(database.write, cache.id, [row.base_hash, row.nar_hash]);
  const [base, next] = [nars.get(row.base_hash), nars.get(row.nar_hash)].map(
    (nar) => nar && { narHash: nar.nar_hash, narSize: nar.nar_size },
  );
  // Those of NARs that are gone are the sweeper's.
  if (base === undefined || next === undefined) return undefined;
  if (!maker.accepts({ base, next, maxSize: row.size })) return undefined;
  const delta = await readObject(storage, key);
  if (delta === undefined) return { kind: 'delta-missing', why: `${key} is not there` };
  if (await maker.check(cache.name, { base, next, delta })) return undefined;
  return { kind: 'delta-wrong', why: `${key} does not give the NAR it names` };
}
