import { queryDeltasByUse } from '../database/tables/deltas.js';
import { Limiter } from '../limiter.js';
import { objectKeys } from '../storage/object-key.js';
import { checkDelta, openDeltaMaker } from './check-deltas.js';
import { checkSideFile } from './check-side-files.js';
import { PARALLEL, type Scene } from './fsck-scene.js';

/** What caches keep beside paths and NARs: deltas, listings, and with a deep look what debug links and realisations name. */
export async function checkBeside(scene: Scene): Promise<void> {
  await checkDeltas(scene);
  const before = Date.now() - scene.foundation.config.uploads.orphans;
  for (const [key, { modified }] of scene.bucket.listings)
    if (modified < before) scene.report('listing-unrecorded', key, `the database has no path for ${key}`);
  if (!scene.isDeep) return;
  const { foundation, cache, bucket, report } = scene;
  const limiter = new Limiter(PARALLEL);
  const looked = [...bucket.sideFiles]
    .filter(([, { modified }]) => modified < before)
    .map(([key]) =>
      limiter.run(async () => {
        const fault = await checkSideFile(foundation, cache, key);
        if (fault !== undefined) report(fault.kind, key, fault.why);
      }),
    );
  await Promise.all(looked);
}

async function checkDeltas({ foundation, cache, bucket, report, isDeep }: Scene): Promise<void> {
  await using maker = isDeep ? openDeltaMaker(foundation) : undefined;
  const limiter = new Limiter(PARALLEL);
  const rows = await queryDeltasByUse(foundation.database.read, cache.id);
  const compared = rows.map(async (row) => {
    if (row.size === null) return;
    const key = objectKeys.delta(cache.name, row.base_hash, row.nar_hash);
    const size = bucket.deltas.get(key)?.size;
    bucket.deltas.delete(key);
    const given = { row, ...(size === undefined ? {} : { size }), ...(maker === undefined ? {} : { maker }) };
    const fault = await limiter.run(() => checkDelta(foundation, cache, given));
    if (fault !== undefined) report(fault.kind, key, fault.why);
  });
  await Promise.all(compared);
  const before = Date.now() - foundation.config.uploads.orphans;
  for (const [key, { modified }] of bucket.deltas)
    if (modified < before) report('delta-unrecorded', key, `the database does not know ${key}`);
}
