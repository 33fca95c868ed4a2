import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { checkDatabase, type DatabaseOptions, openDatabase } from '@larder/cache-server/database/database';
import { isOutage } from '@larder/cache-server/database/outage';
import { insertCache, queryCache, queryCaches } from '@larder/cache-server/database/tables/caches';
import {
  deleteNarFacts,
  insertNarFacts,
  queryNarFacts,
} from '@larder/cache-server/database/tables/nar-facts';
import { queryNarFile, upsertNarFile } from '@larder/cache-server/database/tables/nar-files';
import { insertNar, queryNars } from '@larder/cache-server/database/tables/nars';
import { insertReferences, queryReferrers } from '@larder/cache-server/database/tables/path-references';
import {
  countPaths,
  deleteDanglingPaths,
  insertPath,
  queryNarInfoText,
  queryPathNames,
  updateNarInfoText,
} from '@larder/cache-server/database/tables/paths';
import {
  deletePendingBefore,
  deletePendingPath,
  queryWaiting,
  upsertPendingPath,
} from '@larder/cache-server/database/tables/pending-paths';
import { insertToken, queryTokenByHash } from '@larder/cache-server/database/tables/tokens';
import { hasCode } from '@larder/signing/errors';
import { sql } from 'kysely';
import { needsComponent } from '../engines/components.js';
import { openDatabase as openPostgresDatabase } from '../engines/postgres.js';
import { makeScratch } from '../engines/scratch.js';

const cache = {
  name: 'main',
  public: 1,
  priority: 30,
  store_dir: '/nix/store',
  created_at: 1_763_841_600_000,
  settings: '{}',
};

function pathRow(cacheId: number, hashPart: string) {
  return {
    cache_id: cacheId,
    hash_part: hashPart,
    name: `name-${hashPart}`,
    nar_hash: 'n',
    nar_size: 2 ** 40,
    deriver: null,
    ca: null,
    narinfo: `StorePath: ${hashPart}\n`,
    created_at: 1,
    pushed_at: 1,
    last_used_at: 1,
  };
}

/** What the server asks of a database, on either engine. */
async function contract(t: TestContext, options: DatabaseOptions): Promise<void> {
  await using database = await openDatabase(options);
  const { read, write } = database;
  const { id } = (await insertCache(write, cache)) ?? { id: -1 };

  await t.test('it answers', () => checkDatabase(database));

  await t.test('a name is taken once', async () => {
    assert.equal(await insertCache(write, cache), undefined);
    assert.deepEqual(await queryCaches(read), [{ ...cache, id }]);
    assert.equal(await queryCache(read, 'other'), undefined);
  });

  await t.test('sizes and times beyond 2^32 are numbers', async () => {
    const nar = {
      cache_id: id,
      nar_hash: 'large',
      nar_size: 2 ** 45 + 1,
      file_hash: 'f',
      file_size: 5,
      created_at: 2 ** 41,
      expires_at: null,
      file: null,
      compression: null,
    };
    await insertNar(write, nar);
    await insertNar(write, { ...nar, nar_size: 1 });
    assert.deepEqual((await queryNars(read, id, ['large', 'absent'])).get('large'), nar);
  });

  await t.test('bytes come back as they were, and absence as null', async () => {
    const bytes = Buffer.from([0, 255, 1, 10]);
    await insertNarFacts(write, { cache_id: id, nar_hash: 'a', hash_parts: bytes, listing: null });
    const facts = await queryNarFacts(read, id, 'a');
    assert.deepEqual(Buffer.from(facts?.hash_parts ?? []), bytes);
    assert.equal(facts?.listing, null);
    await deleteNarFacts(write, id, 'a');
    assert.equal(await queryNarFacts(read, id, 'a'), undefined);
  });

  await t.test('the last file of a name counts', async () => {
    for (const nar_hash of ['one', 'two'])
      await upsertNarFile(write, { cache_id: id, file_name: 'f', nar_hash });
    assert.equal(await queryNarFile(read, id, 'f'), 'two');
  });

  await t.test('thousands of paths at once, and the first of each stays', async () => {
    const hashParts = Array.from({ length: 3000 }, (_, index) => `p${index}`);
    await write.transaction().execute(async (db) => {
      for (const hashPart of hashParts) assert.equal(await insertPath(db, pathRow(id, hashPart)), true);
    });
    assert.equal(await insertPath(write, { ...pathRow(id, 'p0'), narinfo: 'other' }), false);
    assert.equal(await queryNarInfoText(read, id, 'p0'), 'StorePath: p0\n');
    const names = await queryPathNames(read, id, [...hashParts, 'absent']);
    assert.equal(names.size, 3000);
    assert.equal(names.get('p2999'), 'name-p2999');
    assert.equal(await countPaths(read, id), 3000);
    await updateNarInfoText(write, { cacheId: id, hashPart: 'p0' }, 'new');
    assert.equal(await queryNarInfoText(read, id, 'p0'), 'new');
    assert.equal(await queryNarInfoText(read, id + 1, 'p0'), undefined);
  });

  await t.test('a transaction that fails leaves nothing, and readers never saw it', async () => {
    await assert.rejects(
      write.transaction().execute(async (db) => {
        await insertPath(db, pathRow(id, 'rolled-back'));
        assert.equal(await queryNarInfoText(read, id, 'rolled-back'), undefined);
        throw new Error('no');
      }),
      /^Error: no$/,
    );
    assert.equal(await queryNarInfoText(read, id, 'rolled-back'), undefined);
  });

  await t.test('paths that refer to nothing go, and those that refer to them', async () => {
    for (const name of ['base', 'mid', 'top']) await insertPath(write, pathRow(id, name));
    const refer = (hash_part: string, reference: string) => ({ cache_id: id, hash_part, reference });
    const rows = [
      refer('base', 'gone'),
      refer('mid', 'base'),
      refer('mid', 'p1'),
      refer('top', 'mid'),
      refer('p2', 'p1'),
    ];
    await insertReferences(write, rows);
    await insertReferences(write, rows);
    assert.deepEqual(await queryReferrers(read, id, 'p1'), ['mid', 'p2']);
    assert.equal(await deleteDanglingPaths(write, id), 3);
    assert.deepEqual(await queryReferrers(read, id, 'p1'), ['p2']);
    assert.equal(await queryNarInfoText(read, id, 'top'), undefined);
  });

  await t.test('pending paths are found by what they wait for', async () => {
    const row = { cache_id: id, hash_part: 'waits', narinfo: 'one', created_at: 100 };
    await upsertPendingPath(write, row, ['path:a', 'path:b']);
    await upsertPendingPath(write, { ...row, narinfo: 'two' }, ['path:b']);
    assert.deepEqual(await queryWaiting(read, id, 'path:a'), []);
    assert.deepEqual(await queryWaiting(read, id, 'path:b'), [{ ...row, narinfo: 'two' }]);
    assert.equal(await deletePendingBefore(write, 100), 0);
    assert.equal(await deletePendingBefore(write, 101), 1);
    await deletePendingPath(write, id, 'waits');
    assert.deepEqual(await queryWaiting(read, id, 'path:b'), []);
  });

  await t.test('a token is known once', async () => {
    const token = {
      name: 't',
      token_hash: 'h',
      caches: '["*"]',
      scopes: '["pull"]',
      created_at: 1,
      expires_at: null,
      revoked_at: null,
      last_used_at: null,
      issuer: null,
    };
    const row = await insertToken(write, token);
    assert.equal(await insertToken(write, token), undefined);
    assert.deepEqual(await queryTokenByHash(read, 'h'), { ...token, id: row?.id });
  });

  await t.test('transactions at once do not fail each other', async () => {
    const add = (index: number) =>
      write.transaction().execute(async (db) => {
        await insertPath(db, pathRow(id, `at-once-${index % 10}`));
        await upsertNarFile(db, { cache_id: id, file_name: `at-once-${index % 3}`, nar_hash: `${index}` });
      });
    await Promise.all(Array.from({ length: 40 }, (_, index) => add(index)));
  });

  await t.test('opening it again, twice at once, finds it as it was', async () => {
    await using one = await openDatabase(options);
    await using two = await openDatabase(options);
    for (const again of [one, two]) assert.equal((await queryCache(again.read, 'main'))?.id, id);
  });
}

test('database on SQLite', async (t) => {
  await using scratch = await makeScratch('database');
  await contract(t, { engine: 'sqlite', path: scratch.join('larder.db') });
});

test('database on PostgreSQL', async (t) => {
  if (!needsComponent(t, 'postgresql')) return;
  await using database = await openPostgresDatabase();
  await contract(t, { engine: 'postgresql', url: database.url, connections: 8 });
});

test('a database that cannot be opened is named', async () => {
  await using scratch = await makeScratch('database');
  await assert.rejects(
    openDatabase({ engine: 'sqlite', path: scratch.join('no/such/larder.db') }),
    (error) => hasCode(error, 'database-failed') && error.message.includes('larder.db'),
  );
  await assert.rejects(
    openDatabase({ engine: 'postgresql', url: 'postgres://127.0.0.1:1/none', connections: 2 }),
    (error) => hasCode(error, 'database-failed') && error.message.includes('postgresql'),
  );
});

test('a connection that PostgreSQL ends in the middle of a transaction fails that transaction alone', async (t) => {
  if (!needsComponent(t, 'postgresql')) return;
  await using engine = await openPostgresDatabase();
  await using database = await openDatabase({ engine: 'postgresql', url: engine.url, connections: 2 });
  const failing = database.write.transaction().execute(async (db) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
    await sql`select pg_terminate_backend(${rows[0]?.pid ?? 0})`.execute(database.read);
    // Nothing is asked of it when the news comes.
    await delay(200);
    await sql`select 1`.execute(db);
  });
  await assert.rejects(failing, (error) => isOutage(error));
  await checkDatabase(database);
});
