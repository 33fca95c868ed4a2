import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { parseNarInfo } from '@larder/signing/narinfo';
import pg from 'pg';
import { defaultStoreDir } from '../store-dir.js';
import type { Cluster } from './cluster.js';

/** What bucket and database say of the cache, when nobody changes it. */
interface Inventory {
  /** Hash parts. */
  readonly narInfos: ReadonlySet<string>;
  /** NarHashes. */
  readonly nars: ReadonlySet<string>;
  readonly paths: ReadonlyMap<string, string>;
  readonly recordedNars: ReadonlySet<string>;
}

/** Holds bucket and database against each other; gives what does not fit. */
export async function audit(cluster: Cluster): Promise<readonly string[]> {
  const { narInfos, nars, paths, recordedNars } = await takeInventory(cluster);
  const faults: string[] = [];
  for (const hashPart of narInfos)
    if (!paths.has(hashPart)) faults.push(`${hashPart}.narinfo is in the bucket and not in the database`);
  for (const narHash of nars)
    if (!recordedNars.has(narHash)) faults.push(`nar/${narHash} is in the bucket and not in the database`);
  for (const narHash of recordedNars)
    if (!nars.has(narHash)) faults.push(`nar/${narHash} is recorded and not in the bucket`);
  for (const [hashPart, text] of paths) {
    const info = parseNarInfo(text, defaultStoreDir, hashPart);
    if (!narInfos.has(hashPart)) faults.push(`${info.storePath} is recorded, its narinfo not in the bucket`);
    if (!nars.has(info.narHash.format('nix32', { prefix: false })))
      faults.push(`${info.storePath} has no NAR`);
    for (const reference of info.references)
      if (!narInfos.has(reference.slice(0, 32)))
        faults.push(`${info.storePath} refers to ${reference}, which is not in the bucket`);
  }
  return faults;
}

async function takeInventory(cluster: Cluster): Promise<Inventory> {
  const database = new pg.Client({ connectionString: cluster.databaseUrl });
  await database.connect();
  try {
    const keys = await listBucket(cluster);
    const paths = await database.query<{ hash_part: string; narinfo: string }>(
      'select hash_part, narinfo from paths',
    );
    const nars = await database.query<{ nar_hash: string }>('select nar_hash from nars');
    const named = (pattern: RegExp): Set<string> =>
      new Set(keys.flatMap((key) => pattern.exec(key)?.[1] ?? []));
    return {
      narInfos: named(/^main\/(\w{32})\.narinfo$/),
      nars: named(/^main\/nar\/(\w+)\.nar\.zst$/),
      paths: new Map(paths.rows.map((row) => [row.hash_part, row.narinfo])),
      recordedNars: new Set(nars.rows.map((row) => row.nar_hash)),
    };
  } finally {
    await database.end();
  }
}

async function listBucket({ bucket: { client, bucket } }: Cluster): Promise<string[]> {
  const keys: string[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new ListObjectsV2Command({
        Bucket: bucket,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      }),
    );
    keys.push(...(page.Contents ?? []).map((object) => object.Key ?? ''));
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return keys;
}
