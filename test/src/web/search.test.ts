import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type DatabaseOptions, openDatabase } from '@larder/cache-server/database/database';
import { insertNameParts } from '@larder/cache-server/database/tables/name-parts';
import { searchPaths } from '@larder/cache-server/web/search';
import { hashPartOf, nameOf } from '../bench/made-up-cache.js';
import { needsComponent } from '../engines/components.js';
import { searchedPaths } from '../engines/config.js';
import { openDatabase as openPostgres } from '../engines/postgres.js';
import { makeScratch } from '../engines/scratch.js';

const BATCH = 1000;

async function search(t: TestContext, options: DatabaseOptions): Promise<void> {
  await using database = await openDatabase(options);
  const row = { name: 'main', public: 1, priority: 30, store_dir: '/nix/store', created_at: 1 };
  // Only the columns that search knows of, here and below: the others have defaults.
  const caches = await database.write
    .insertInto('caches')
    .values(row as never)
    .returning('id')
    .execute();
  const id = caches[0]?.id ?? 0;
  const count = searchedPaths();
  for (let from = 0; from < count; from += BATCH) {
    const rows = Array.from({ length: Math.min(BATCH, count - from) }, (_, at) => ({
      cache_id: id,
      hash_part: hashPartOf(from + at),
      name: nameOf(from + at),
      nar_hash: hashPartOf(from + at),
      nar_size: from + at,
      deriver: null,
      ca: null,
      narinfo: 'StorePath: …\n'.repeat(60),
      created_at: from + at,
      pushed_at: from + at,
      last_used_at: from + at,
    }));
    await insertNameParts(
      database.write,
      id,
      rows.map(({ name }) => name),
    );
    await database.write.transaction().execute(async (db) => {
      for (let at = 0; at < rows.length; at += 500)
        await db
          .insertInto('paths')
          .values(rows.slice(at, at + 500))
          .execute();
    });
  }
  const names = (question: string) =>
    searchPaths(database, id, question).then(({ byName }) => byName.map(({ name }) => name));
  const all = [...new Set(Array.from({ length: Math.min(count, 2000) }, (_, at) => nameOf(at)))];
  const [first = ''] = all.filter((name) => name.startsWith('gtk+3'));
  assert.ok((await names(first)).includes(first));
  assert.ok((await names('requests')).every((name) => name.startsWith('python3.12-requests')));
  assert.ok((await names('requests')).length > 20);
  assert.ok((await names('DBI perl')).length > 20, 'capitals and the order of words do not matter');
  assert.deepEqual(await names('ssl'), [], 'words are found by their beginnings');
  const { byHash } = await searchPaths(database, id, hashPartOf(7).slice(0, 8));
  assert.ok(byHash.some(({ name }) => name === nameOf(7)));
  for (const question of [
    'f',
    'firefox',
    'requests 3.1',
    'linux 5',
    hashPartOf(9).slice(0, 5),
    'zzz',
    'x y z',
  ]) {
    const started = performance.now();
    const { byName, byHash: hashes } = await searchPaths(database, id, question);
    const took = performance.now() - started;
    t.diagnostic(
      `${options.engine}, ${count} paths: '${question}' ${took.toFixed(1)} ms, ${byName.length + hashes.length} found`,
    );
    assert.ok(byName.length <= 200 && hashes.length <= 20, 'what is given is bounded');
  }
}

test('search on SQLite', async (t) => {
  await using scratch = await makeScratch('search');
  await search(t, { engine: 'sqlite', path: scratch.join('larder.db') });
});

test('search on PostgreSQL', async (t) => {
  if (!needsComponent(t, 'postgresql')) return;
  await using database = await openPostgres();
  await search(t, { engine: 'postgresql', url: database.url, connections: 4 });
});
