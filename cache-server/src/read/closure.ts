import { setImmediate as turn } from 'node:timers/promises';
import { HAVE_LENGTH, type NarInfosRequest } from '@larder/signing/download';
import { HASH_PART_LENGTH } from '@larder/signing/store-path';
import type { Database } from '../database/database.js';
import { queryNarInfoTexts } from '../database/tables/paths.js';

/** Paths looked up at a time: few enough that other requests get their turn between. */
const BATCH = 500;

export interface NarInfoQuery extends NarInfosRequest {
  readonly cacheId: number;
  /** Whether to go on to what they refer to. */
  readonly recursive: boolean;
}

/**
 * The narinfos of these paths and, level by level, of what they refer to, each once, as far as the cache has them: one
 * lookup for every 500 paths of a level, and memory for the hash parts alone.
 */
export async function* walkNarInfos(database: Database, query: NarInfoQuery): AsyncGenerator<string> {
  const { cacheId, have, recursive } = query;
  const seen = new Set(query.hashParts);
  for (let level = [...seen]; level.length > 0; ) {
    const next: string[] = [];
    for (let at = 0; at < level.length; at += BATCH) {
      for (const text of await queryNarInfoTexts(database.read, cacheId, level.slice(at, at + BATCH))) {
        yield text;
        if (!recursive) continue;
        for (const hashPart of referencedHashParts(text)) {
          if (seen.has(hashPart) || have.has(hashPart.slice(0, HAVE_LENGTH))) continue;
          seen.add(hashPart);
          next.push(hashPart);
        }
      }
      await turn();
    }
    level = next;
  }
}

const REFERENCES = '\nReferences: ';

/** Read straight from the text: parsing all of it takes twenty times as long. */
function referencedHashParts(narInfo: string): string[] {
  const start = narInfo.indexOf(REFERENCES);
  if (start < 0) return [];
  const names = narInfo.slice(start + REFERENCES.length, narInfo.indexOf('\n', start + 1));
  return names === '' ? [] : names.split(' ').map((name) => name.slice(0, HASH_PART_LENGTH));
}
