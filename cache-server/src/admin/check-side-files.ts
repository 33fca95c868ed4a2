import { parseBuildTrace, parseRealisation, type Realisation } from '@larder/signing/realisation';
import { parseStorePath, storePathHashPart } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import { queryPathNames } from '../database/tables/paths.js';
import { parseDebugInfo } from '../publish/side-files.js';
import type { Foundation } from '../start.js';
import { readObject } from '../storage/storage.js';

/** What is wrong with an object that names a NAR or a path. */
export interface SideFault {
  readonly kind: 'debug-link-dangling' | 'realisation-dangling';
  readonly why: string;
}

/**
 * Reads a link to debug information, or a realisation, and looks whether the cache has what it names. Build logs stand for
 * themselves: their derivations need not be in the cache.
 * @returns `undefined` for what is sound, or gone by now
 */
export async function checkSideFile(
  foundation: Foundation,
  cache: Cache,
  key: string,
): Promise<SideFault | undefined> {
  const text = (await readObject(foundation.storage, key))?.toString();
  if (text === undefined) return undefined;
  const name = key.slice(cache.name.length + 1);
  const isLink = name.startsWith('debuginfo/');
  const kind = isLink ? 'debug-link-dangling' : 'realisation-dangling';
  const check = isLink ? checkDebugLink : checkRealisation;
  const why = await check(foundation, cache, { name, text }).catch((error: unknown) =>
    // Nothing else is wrong with it than what it says.
    isMalformed(error) ? error.message : Promise.reject(error as Error),
  );
  return why === undefined ? undefined : { kind, why: `${key}: ${why}` };
}

interface SideFile {
  /** Its key within the cache. */
  readonly name: string;
  readonly text: string;
}

async function checkDebugLink(
  { database }: Foundation,
  cache: Cache,
  { text }: SideFile,
): Promise<string | undefined> {
  const file = parseDebugInfo(text).archive.replace(/^\.\.\//, '');
  const narHash = /^nar\/([0-9a-z]{52})\.nar\.zst$/.exec(file)?.[1] ?? '';
  const nar = await database.write
    .selectFrom('nars')
    .select('nar_hash')
    .where('cache_id', '=', cache.id)
    .where((where) =>
      where.or([where('file', '=', file), where('nar_hash', '=', narHash).and('file', 'is', null)]),
    )
    .executeTakeFirst();
  return nar === undefined ? `the cache does not have the NAR ${file}` : undefined;
}

async function checkRealisation(
  { database }: Foundation,
  cache: Cache,
  { name, text }: SideFile,
): Promise<string | undefined> {
  const { outPath } = parseAt(name, text);
  // What the cache does not have, an upstream may.
  if ((cache.options.upstreams ?? []).length > 0) return undefined;
  const names = await queryPathNames(database.write, cache.id, [storePathHashPart(outPath)]);
  return names.size > 0 ? undefined : `the cache does not have ${outPath}`;
}

function parseAt(name: string, text: string): Realisation {
  const [, derivation, output] = /^build-trace-v2\/([^/]+)\/(.+)\.doi$/.exec(name) ?? [];
  if (derivation === undefined || output === undefined) return parseRealisation(text, name);
  return parseBuildTrace(text, { derivation: parseStorePath(derivation), output });
}

function isMalformed(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /-malformed$/.test(String(error.code));
}
