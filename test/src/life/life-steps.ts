import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from '@larder/signing/errors';
import fc from 'fast-check';
import type { SamplePath } from '../server/sample-path.js';
import {
  COUNT,
  check,
  closureOf,
  collect,
  isRetried,
  type Model,
  type Real,
  visible,
  wanted,
} from './life-model.js';
import type { Replica } from './replica.js';

const PINS = ['a', 'b'];

type Step = fc.AsyncCommand<Model, Real>;

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

/**
 * As Larder's own client does: asks what is missing, and pushes that. What was there a moment ago, was withdrawn since and
 * comes back for it counts as pushed, too.
 */
async function pushMissing(
  model: Model,
  real: Real,
  { index, via }: { index: number; via: number },
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const seen = await visible(real);
    const closure = closureOf(real, [index]);
    const missing = [...closure].filter((each) => !seen.has(each));
    const started = Date.now();
    try {
      const batch = missing.map((each) => real.paths[each] as SamplePath);
      await (real.replicas[via % real.replicas.length] as Replica).push(real.cache, batch);
      for (const each of await pushedSince(real, started)) if (closure.has(each)) model.fresh.add(each);
      for (const each of missing) model.fresh.add(each);
      return;
    } catch (error) {
      if (!isRetried(error) || attempt > 5) throw error;
    }
  }
}

async function pushedSince({ replicas, cache, paths }: Real, time: number): Promise<number[]> {
  const [replica] = replicas as [Replica];
  const rows = await replica.database.write
    .selectFrom('paths')
    .select('hash_part')
    .where('cache_id', '=', cache.id)
    .where('pushed_at', '>=', time)
    .execute();
  return rows.map((row) => paths.findIndex((path) => path.hashPart === row.hash_part));
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
