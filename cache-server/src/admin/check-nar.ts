import { type NarRow, narCompression } from '../database/tables/nars.js';
import type { NarReader } from '../nars/nar-reader.js';
import { bareHash } from '../publish/narinfo-text.js';
import type { ObjectStorage } from '../storage/storage.js';

/** What is wrong with a NAR that the database knows. */
export interface NarFault {
  readonly kind: 'nar-missing' | 'nar-damaged';
  readonly why: string;
}

/**
 * Compares a stored NAR with what the database says of it: its size, and with a reader its contents.
 * @param size as it was listed; asked for anew unless it is right, since another upload may have come meanwhile
 */
export async function checkNar(
  storage: ObjectStorage,
  { key, row, size }: { readonly key: string; readonly row: NarRow; readonly size?: number | undefined },
  reader: NarReader | undefined,
): Promise<NarFault | undefined> {
  const now = size === row.file_size ? size : (await storage.head(key))?.size;
  if (now === undefined) return missing(key);
  if (now !== row.file_size) return damaged(`${key} has ${now} bytes, and had ${row.file_size}`);
  if (reader === undefined) return undefined;
  await using stored = await storage.get(key);
  if (stored === undefined) return missing(key);
  try {
    const form = { compression: narCompression(row), maxSize: row.nar_size };
    const { narHash, narSize } = await reader.survey(stored.body, form);
    if (bareHash(narHash) !== row.nar_hash)
      return damaged(`${key}: its NAR has the hash ${narHash.toString()}`);
    return narSize === row.nar_size ? undefined : damaged(`${key}: its NAR has ${narSize} bytes`);
  } catch (error) {
    return damaged(`${key}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function missing(key: string): NarFault {
  return { kind: 'nar-missing', why: `${key} is not there` };
}

function damaged(why: string): NarFault {
  return { kind: 'nar-damaged', why };
}
