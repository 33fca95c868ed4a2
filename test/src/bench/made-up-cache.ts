import { createHash } from 'node:crypto';
import type { Database } from '@larder/cache-server/database/database';
import { recountUsage } from '@larder/cache-server/database/tables/cache-usage';
import { insertNameParts } from '@larder/cache-server/database/tables/name-parts';
import { formatBase32 } from '@larder/signing/base32';

/** Paths that refer to each other: a closure has no more. */
export const CLOSURE = 200;
/** Rows in one statement, and paths in one transaction. */
const ROWS = 500;
const TRANSACTION = 10_000;

const packages = [
  'openssl',
  'python3.12-requests',
  'firefox',
  'glibc',
  'linux',
  'perl5.40-DBI',
  'gtk+3',
  'X_y',
];

/** The hash part of the path of this number. */
export function hashPartOf(at: number): string {
  return formatBase32(createHash('sha1').update(`${at}`).digest());
}

/** Names grow in number with the cache; four builds of one have the same. */
export function nameOf(at: number): string {
  const one = at >> 2;
  return `${packages[one % packages.length]}${one >> 9}-${one % 31}.${one % 7}`;
}

function narHashOf(at: number): string {
  return formatBase32(createHash('sha256').update(`${at}`).digest());
}

function referencesOf(at: number): number[] {
  const first = at - (at % CLOSURE);
  return [at - 1, at - 1 - (at % 7), first].filter(
    (each, position, all) => each >= first && each < at && all.indexOf(each) === position,
  );
}

function narInfoOf(at: number): string {
  const names = referencesOf(at).map((each) => `${hashPartOf(each)}-${nameOf(each)}`);
  return [
    `StorePath: /nix/store/${hashPartOf(at)}-${nameOf(at)}`,
    `URL: nar/${narHashOf(at)}.nar.zst`,
    'Compression: zstd',
    `FileHash: sha256:${narHashOf(-at)}`,
    `FileSize: ${1000 + at}`,
    `NarHash: sha256:${narHashOf(at)}`,
    `NarSize: ${5000 + at}`,
    `References: ${names.join(' ')}`,
    `Deriver: ${hashPartOf(-at)}-${nameOf(at)}.drv`,
    `Sig: main-1:${createHash('sha512').update(`${at}`).digest('base64')}`,
    '',
  ].join('\n');
}

export interface Growth {
  readonly cacheId: number;
  /** Numbers of the paths to add: the first, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** When half of the closures, every other one, were pushed; the rest just now. Milliseconds. */
  readonly old: number;
}

/** Puts made-up paths into the index, with NARs, references and names, as if they had been pushed. The bucket stays empty. */
export async function growCache(database: Database, { cacheId, from, to, old }: Growth): Promise<void> {
  for (let start = from; start < to; start += TRANSACTION) {
    const numbers = Array.from({ length: Math.min(TRANSACTION, to - start) }, (_, at) => start + at);
    await insertNameParts(database.write, cacheId, numbers.map(nameOf));
    await database.write.transaction().execute(async (db) => {
      for (let at = 0; at < numbers.length; at += ROWS) {
        const batch = numbers.slice(at, at + ROWS);
        await db
          .insertInto('paths')
          .values(batch.map((each) => pathRow(cacheId, each, old)))
          .execute();
        await db
          .insertInto('nars')
          .values(batch.map((each) => narRow(cacheId, each)))
          .execute();
        const references = batch.flatMap((each) =>
          referencesOf(each).map((reference) => ({
            cache_id: cacheId,
            hash_part: hashPartOf(each),
            reference: hashPartOf(reference),
          })),
        );
        await db.insertInto('path_references').values(references).execute();
      }
    });
  }
  await recountUsage(database.write, cacheId, Date.now());
}

function pathRow(cacheId: number, at: number, old: number) {
  const time = Math.floor(at / CLOSURE) % 2 === 0 ? old : Date.now();
  return {
    cache_id: cacheId,
    hash_part: hashPartOf(at),
    name: nameOf(at),
    nar_hash: narHashOf(at),
    nar_size: 5000 + at,
    deriver: `${hashPartOf(-at)}-${nameOf(at)}.drv`,
    ca: null,
    narinfo: narInfoOf(at),
    created_at: time,
    pushed_at: time,
    last_used_at: time,
  };
}

function narRow(cacheId: number, at: number) {
  return {
    cache_id: cacheId,
    nar_hash: narHashOf(at),
    nar_size: 5000 + at,
    file_hash: narHashOf(-at),
    file_size: 1000 + at,
    created_at: Date.now(),
    expires_at: null,
  };
}
