import assert from 'node:assert/strict';
import { setTimeout as delay, setTimeout as sleep } from 'node:timers/promises';
import type { Cache } from '@larder/cache-server/caches/cache';
import { leaseOf } from '@larder/cache-server/collect/withdraw';
import { objectKeys } from '@larder/cache-server/storage/object-key';
import { readObject } from '@larder/cache-server/storage/storage';
import { hasCode } from '@larder/signing/errors';
import fc from 'fast-check';
import { bare, type SamplePath, samplePath } from '../server/sample-path.js';
import { BrokenStorage } from './fragile-storage.js';
import { LEASE, type Replica } from './replica.js';

const COUNT = 9;
const PINS = ['a', 'b'];

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

type Step = fc.AsyncCommand<Model, Real>;

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

function closureOf({ references }: Real, roots: Iterable<number>): Set<number> {
  const closure = new Set<number>();
  const visit = (index: number): void => {
    if (closure.has(index)) return;
    closure.add(index);
    references[index]?.forEach(visit);
  };
  for (const root of roots) visit(root);
  return closure;
}

function wanted(model: Model, real: Real): Set<number> {
  return closureOf(real, [...model.fresh, ...model.pins.values()]);
}

async function visible({ replicas, cache, paths }: Real): Promise<Set<number>> {
  const [replica] = replicas as [Replica];
  const rows = await replica.database.write
    .selectFrom('paths')
    .select('hash_part')
    .where('cache_id', '=', cache.id)
    .execute();
  return new Set(rows.map((row) => paths.findIndex((path) => path.hashPart === row.hash_part)));
}

/** What holds at every moment when nobody is in the middle of something. */
async function check(model: Model, real: Real): Promise<void> {
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
function isRetried(error: unknown): boolean {
  return (
    error instanceof BrokenStorage ||
    ['references-missing', 'nar-missing', 'lease-lost', 'lease-busy', 'storage-failed'].some((code) =>
      hasCode(error, code),
    )
  );
}

/** Pushes a path with all it needs, as often as it takes; then it is fresh. */
async function push(model: Model, real: Real, { index, via }: { index: number; via: number }): Promise<void> {
  const closure = [...closureOf(real, [index])];
  const batch = closure.map((each) => real.paths[each] as SamplePath);
  for (let attempt = 1; ; attempt++) {
    try {
      await (real.replicas[via % real.replicas.length] as Replica).push(real.cache, batch);
      break;
    } catch (error) {
      if (!isRetried(error) || attempt > 5) throw error;
      for (const replica of real.replicas) replica.storage.mend();
    }
  }
  for (const each of closure) model.fresh.add(each);
}

/** As Larder's own client does: asks what is missing, and pushes that. */
async function pushMissing(
  model: Model,
  real: Real,
  { index, via }: { index: number; via: number },
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const seen = await visible(real);
    const missing = [...closureOf(real, [index])].filter((each) => !seen.has(each));
    try {
      const batch = missing.map((each) => real.paths[each] as SamplePath);
      await (real.replicas[via % real.replicas.length] as Replica).push(real.cache, batch);
      for (const each of missing) model.fresh.add(each);
      return;
    } catch (error) {
      if (!isRetried(error) || attempt > 5) throw error;
    }
  }
}

function step(text: string, run: (model: Model, real: Real) => Promise<void>): Step {
  return {
    check: () => true,
    async run(model, real) {
      await run(model, real);
      for (const replica of real.replicas) replica.storage.mend();
      // What the dead left is found in time.
      await real.replicas[0]?.settleLapsed(real.cache);
      await check(model, real);
    },
    toString: () => text,
  };
}

async function ageAll(model: Model, real: Real, indexes: readonly number[]): Promise<void> {
  const [replica] = real.replicas as [Replica];
  await replica.database.write
    .updateTable('paths')
    .set({ pushed_at: 1, last_used_at: 1 })
    .where('cache_id', '=', real.cache.id)
    .where(
      'hash_part',
      'in',
      indexes.map((index) => real.paths[index]?.hashPart ?? ''),
    )
    .execute();
  for (const index of indexes) model.fresh.delete(index);
}

async function collect(real: Real, via: number): Promise<void> {
  const replica = real.replicas[via % real.replicas.length] as Replica;
  await replica.collect(real.cache).catch((error: unknown) => {
    if (!hasCode(error, 'collection-running') && !isRetried(error)) throw error;
  });
}

const index = fc.nat(COUNT - 1);
const some = fc.uniqueArray(index, { minLength: 1, maxLength: COUNT });
const via = fc.nat(1);

/** What clients, administrators, time and fate do. */
export const steps: fc.Arbitrary<Step>[] = [
  fc
    .tuple(index, via)
    .map(([at, to]) =>
      step(`push ${at} via ${to}`, (model, real) => push(model, real, { index: at, via: to })),
    ),
  some.map((indexes) => step(`age ${indexes.join()}`, (model, real) => ageAll(model, real, indexes))),
  fc.tuple(fc.constantFrom(...PINS), index, via).map(([name, at, to]) =>
    step(`pin ${name} ${at} via ${to}`, async (model, real) => {
      const path = real.paths[at] as SamplePath;
      const replica = real.replicas[to % real.replicas.length] as Replica;
      const isThere = (await visible(real)).has(at);
      const pinning = replica.pins.pin(real.cache, { name, paths: [path.storePath] });
      if (!isThere) return assert.rejects(pinning, (error) => hasCode(error, 'pin-path-missing'));
      await pinning;
      model.pins.set(name, at);
    }),
  ),
  fc.constantFrom(...PINS).map((name) =>
    step(`unpin ${name}`, async (model, real) => {
      await real.replicas[0]?.pins.delete(real.cache, name);
      model.pins.delete(name);
    }),
  ),
  via.map((to) =>
    step(`collect via ${to}`, async (model, real) => {
      await collect(real, to);
      assert.deepEqual([...(await visible(real))].sort(), [...wanted(model, real)].sort(), 'all that may go');
    }),
  ),
  fc.tuple(some, via).map(([indexes, to]) =>
    step(`collect via ${to} while pushing ${indexes.join()}`, async (model, real) => {
      await Promise.all([
        collect(real, to),
        ...indexes.map((at) => push(model, real, { index: at, via: to + 1 })),
      ]);
    }),
  ),
  fc.tuple(index, some, via, fc.nat(60)).map(([at, indexes, to, pause]) =>
    step(
      `collect all old but ${indexes.join()} via ${to} while pushing what ${at} lacks`,
      async (model, real) => {
        await push(model, real, { index: at, via: to });
        const path = real.paths[at] as SamplePath;
        const { hashParts } = await (real.replicas[0] as Replica).withdrawal.withdraw(real.cache, [
          path.hashPart,
        ]);
        if (hashParts.length > 0) model.fresh.delete(at);
        const old = real.paths.map((_, each) => each).filter((each) => !indexes.includes(each));
        if (old.length > 0) await ageAll(model, real, old);
        // So that they meet now here, now there.
        const late = delay(pause).then(() => pushMissing(model, real, { index: at, via: to + 1 }));
        await Promise.all([collect(real, to), late]);
      },
    ),
  ),
  fc.tuple(index, fc.nat(6), fc.boolean()).map(([at, writes, isAfter]) =>
    step(`die at write ${writes}${isAfter ? ', done' : ''} of pushing ${at}`, async (model, real) => {
      real.replicas[0]?.storage.breakAfter(writes, isAfter);
      await push(model, real, { index: at, via: 0 });
    }),
  ),
  fc.tuple(fc.nat(6), fc.boolean()).map(([writes, isAfter]) =>
    step(`die at write ${writes}${isAfter ? ', done' : ''} of collecting`, async (_, real) => {
      real.replicas[0]?.storage.breakAfter(writes, isAfter);
      await collect(real, 0);
    }),
  ),
  fc.tuple(index, via).map(([at, to]) =>
    step(`delete ${at} via ${to}`, async (model, real) => {
      const replica = real.replicas[to % real.replicas.length] as Replica;
      const path = real.paths[at] as SamplePath;
      const { hashParts } = await replica.withdrawal.withdraw(real.cache, [path.hashPart]);
      if (hashParts.length > 0) model.fresh.delete(at);
    }),
  ),
  fc.tuple(some, via).map(([indexes, to]) =>
    step(`delete expired NARs via ${to} while pushing ${indexes.join()}`, async (model, real) => {
      const [replica] = real.replicas as [Replica];
      await replica.database.write
        .updateTable('nars')
        .set({ expires_at: 1 })
        .where('cache_id', '=', real.cache.id)
        .where('expires_at', 'is not', null)
        .execute();
      await Promise.all([
        real.replicas[to % real.replicas.length]?.deleteExpiredNars(real.cache),
        ...indexes.map((at) => push(model, real, { index: at, via: to + 1 })),
      ]);
    }),
  ),
];

/** At the very end: what may go is gone, NARs and all, and nothing is held. */
export async function checkEnd(model: Model, real: Real): Promise<void> {
  const { cache, paths, replicas } = real;
  const [replica] = replicas as [Replica];
  // What the dead held is over by then.
  await sleep(LEASE * 1.5);
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
  const nars = new Set([...kept].map((index) => bare((paths[index] as SamplePath).narHash)));
  const stored = [];
  for await (const { key } of replica.storage.list(`${cache.name}/nar/`)) stored.push(key);
  assert.deepEqual(stored.sort(), [...nars].map((narHash) => objectKeys.nar(cache.name, narHash)).sort());
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
