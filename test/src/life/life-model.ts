import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cache } from '@larder/cache-server/caches/cache';
import { leaseOf } from '@larder/cache-server/collect/withdraw';
import { objectKeys } from '@larder/cache-server/storage/object-key';
import { readObject } from '@larder/cache-server/storage/storage';
import { hasCode } from '@larder/signing/errors';
import { bare, type SamplePath, samplePath } from '../server/sample-path.js';
import { BrokenStorage } from './fragile-storage.js';
import { LEASE, type Replica } from './replica.js';

/** Paths of a run. */
export const COUNT = 9;

/** What must be, whatever the servers do: which paths are wanted, by whom. */
export interface Model {
  /** Pushed since they last were made old. */
  readonly fresh: Set<number>;
  readonly pins: Map<string, number>;
}

/** The servers, with a cache of their own for one run, and the paths that may be in it. */
export interface Real {
  readonly replicas: readonly Replica[];
  readonly cache: Cache;
  readonly paths: readonly SamplePath[];
  /** For each path, those it refers to. */
  readonly references: readonly (readonly number[])[];
}

/** Paths that refer to some of those before them; two have one NAR. */
export function makePaths(label: string): Pick<Real, 'paths' | 'references'> {
  const references = Array.from({ length: COUNT }, (_, index) =>
    [index - 1, index - 3, Math.floor(index / 2) - 1].filter(
      (each, at, all) => each >= 0 && all.indexOf(each) === at && (index * 7 + each) % 3 !== 0,
    ),
  );
  const paths: SamplePath[] = [];
  for (const [index, below] of references.entries())
    paths.push(
      samplePath(
        `${label}-${index}`,
        below.map((each) => paths[each] as SamplePath),
      ),
    );
  const [first] = paths as [SamplePath];
  const twin = references.findIndex((below, index) => index > 0 && below.length === 0);
  if (twin > 0) paths[twin] = { ...(paths[twin] as SamplePath), nar: first.nar, narHash: first.narHash };
  return { paths, references };
}

export function closureOf({ references }: Real, roots: Iterable<number>): Set<number> {
  const closure = new Set<number>();
  const visit = (index: number): void => {
    if (closure.has(index)) return;
    closure.add(index);
    references[index]?.forEach(visit);
  };
  for (const root of roots) visit(root);
  return closure;
}

export function wanted(model: Model, real: Real): Set<number> {
  return closureOf(real, [...model.fresh, ...model.pins.values()]);
}

export async function visible({ replicas, cache, paths }: Real): Promise<Set<number>> {
  const [replica] = replicas as [Replica];
  const rows = await replica.database.write
    .selectFrom('paths')
    .select('hash_part')
    .where('cache_id', '=', cache.id)
    .execute();
  return new Set(rows.map((row) => paths.findIndex((path) => path.hashPart === row.hash_part)));
}

/** What holds at every moment when nobody is in the middle of something. */
export async function check(model: Model, real: Real): Promise<void> {
  const { replicas, cache, paths, references } = real;
  const [replica] = replicas as [Replica];
  const seen = await visible(real);
  for (const index of wanted(model, real)) assert.ok(seen.has(index), `path ${index} is wanted and gone`);
  for (const [index, path] of paths.entries()) {
    const narinfo = await readObject(replica.storage, objectKeys.narInfo(cache.name, path.hashPart));
    if (!seen.has(index)) {
      assert.equal(narinfo, undefined, `the bucket has a narinfo of ${index}, which nobody vouches for`);
      continue;
    }
    for (const below of references[index] ?? [])
      assert.ok(seen.has(below), `path ${index} refers to ${below}, which is gone`);
    const nar = await replica.storage.head(objectKeys.nar(cache.name, bare(path.narHash)));
    assert.ok(nar !== undefined, `the NAR of ${index} is gone`);
    const { narinfo: text } = await replica.database.write
      .selectFrom('paths')
      .select('narinfo')
      .where('cache_id', '=', cache.id)
      .where('hash_part', '=', path.hashPart)
      .executeTakeFirstOrThrow();
    assert.equal(narinfo?.toString(), text, `the bucket's narinfo of ${index}`);
  }
  const counts = await replica.database.write
    .selectFrom('cache_usage')
    .select('paths')
    .where('cache_id', '=', cache.id)
    .executeTakeFirst();
  assert.equal(counts?.paths ?? 0, seen.size, 'the count of paths');
}

/** Errors that a client answers with another attempt, from the start. */
export function isRetried(error: unknown): boolean {
  return (
    error instanceof BrokenStorage ||
    ['references-missing', 'nar-missing', 'lease-lost', 'lease-busy', 'storage-failed'].some((code) =>
      hasCode(error, code),
    )
  );
}

/** Collects through one replica, as far as that goes now. */
export async function collect(real: Real, via: number): Promise<void> {
  const replica = real.replicas[via % real.replicas.length] as Replica;
  await replica.collect(real.cache).catch((error: unknown) => {
    if (!hasCode(error, 'collection-running') && !isRetried(error)) throw error;
  });
}

/** At the very end: what may go is gone, NARs and all, and nothing is held. */
export async function checkEnd(model: Model, real: Real): Promise<void> {
  const { cache, paths, replicas } = real;
  const [replica] = replicas as [Replica];
  // What the dead held is over by then.
  await delay(LEASE * 1.5);
  await replica.settleLapsed(cache);
  await collect(real, 0);
  await replica.database.write
    .updateTable('nars')
    .set({ expires_at: 1 })
    .where('cache_id', '=', cache.id)
    .where('expires_at', 'is not', null)
    .execute();
  await replica.deleteExpiredNars(cache);
  await replica.settleLapsed(cache);
  await check(model, real);
  const kept = wanted(model, real);
  assert.deepEqual([...(await visible(real))].sort(), [...kept].sort(), 'paths are there that nobody wants');
  const nars = new Set([...kept].map((index) => bare((paths[index] as SamplePath).narHash)));
  const stored = [];
  for await (const { key } of replica.storage.list(`${cache.name}/nar/`)) stored.push(key);
  const expected = [...nars].map((narHash) => objectKeys.nar(cache.name, narHash)).sort();
  assert.deepEqual(stored.sort(), expected, 'NARs in the bucket');
  const held = await replica.database.write
    .selectFrom('leases')
    .select('object')
    .where('cache_id', '=', cache.id)
    .execute();
  assert.deepEqual(
    held.map((row) => row.object),
    [],
    `such as ${leaseOf('…')}`,
  );
}
