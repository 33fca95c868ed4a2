import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SecretKey } from '@larder/signing/key';
import pg from 'pg';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { freePort, makeScratch } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { Nix } from '../oracle/nix.js';
import { TestServer } from '../server/running.js';
import { AtticServer } from './attic-server.js';
import { hashPartOf, makePaths, migrateHere, parseResults, runMigrate } from './migrating.js';

test('an attic server on PostgreSQL and S3 is taken over into a server on PostgreSQL and S3', async (t) => {
  for (const component of ['nix', 'compressors', 'postgresql', 's3'] as const)
    if (!needsComponent(t, component)) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('attic');
  await using theirs = await openDatabase();
  await using ours = await openDatabase();
  await using bucket = await openBucket();
  await using target = await openBucket();
  const { paths } = await makePaths(nix, { seed: 'engines', paths: 10, bytes: 600_000 });
  // As an attic client does that leaves out what cache.nixos.org signed.
  const [upstreams = paths[0]] = [
    paths.find(({ storePath }) => paths.some((each) => refersTo(each, storePath))),
  ];
  assert.ok(upstreams !== undefined);
  const pushed = paths.filter((path) => path !== upstreams);
  const key = SecretKey.generate('team');
  {
    await using attic = await AtticServer.create({ database: theirs.url, storage: bucket });
    const cache = await attic.addCache({
      name: 'team',
      keypair: key.format(),
      public: true,
      upstreams: ['main-1'],
    });
    for (const [index, path] of pushed.entries())
      await attic.addObject(cache, await attic.addNar(path.nar, index % 2 === 0 ? 'zstd' : 'br'), path);
  }
  const before = await dump(theirs.url);
  const { host } = new URL(bucket.endpoint);
  const from = `s3://${bucket.bucket}?endpoint=${host}&scheme=http&region=${bucket.region}`;
  const args = ['attic', '--database', theirs.url, '--storage', from, '--json'];
  const toml = `${remoteEngines(target, ours)}\n[upstreams]\nallow_private = ["127.0.0.0/8"]\n`;
  const env = { AWS_ACCESS_KEY_ID: bucket.accessKeyId, AWS_SECRET_ACCESS_KEY: bucket.secretAccessKey };

  await t.test(
    'what refers to what attic does not have waits for an upstream, which is asked for',
    async () => {
      const ran = await runMigrate(scratch, args, { toml, env });
      assert.equal(ran.status, 1, ran.stderr);
      const { migration } = parseResults(ran).get('team') ?? {};
      const users = pushed.filter((path) => refersTo(path, upstreams.storePath));
      assert.ok((migration?.dangling ?? 0) >= users.length);
      assert.equal((migration?.published ?? 0) + (migration?.dangling ?? 0), pushed.length);
      assert.match(
        ran.stderr,
        /refer to 1 that attic does not have, left to main-1.*--upstream URL --upstream-key/s,
      );
    },
  );

  await t.test('an upstream that does not answer is none, and nothing is begun', async () => {
    const nobody = [
      '--upstream',
      `http://127.0.0.1:${await freePort()}`,
      '--upstream-key',
      key.publicKey().format(),
    ];
    const ran = await runMigrate(scratch, [...args, ...nobody], {
      toml,
      env: { ...env, NIX_CONFIG: 'download-attempts = 1' },
    });
    assert.equal(ran.status, 1, ran.stdout.toString());
    assert.match(ran.stderr, /nix-cache-info/);
  });

  await t.test('with it, all is moved and fetched', async () => {
    await using upstream = await TestServer.start();
    await nix.login(upstream.token);
    await nix.run('nix', ['copy', '--to', `${upstream.url}/main`, upstreams.storePath]);
    const described = (await (await upstream.fetch('/api/v1/caches/main')).json()) as {
      publicKeys: string[];
    };
    const [publicKey = ''] = described.publicKeys;
    const ran = await runMigrate(
      scratch,
      [...args, '--upstream', `${upstream.url}/main`, '--upstream-key', publicKey],
      { toml, env },
    );
    assert.equal(ran.status, 0, ran.stderr + ran.stdout.toString());
    const { migration } = parseResults(ran).get('team') ?? {};
    assert.equal((migration?.published ?? 0) + (migration?.present ?? 0), pushed.length);
    assert.equal(migration?.nars, 0, 'NARs that were there already were read again');
    await using server = await TestServer.start({ scratch, toml });
    const all = paths.map(({ storePath }) => storePath);
    const keys = `${key.publicKey().format()} ${publicKey}`;
    const fetched = await nix.fetchFresh(`${server.url}/team`, keys, all);
    assert.equal(fetched.status, 0, fetched.stderr);
  });

  await t.test('a bucket nobody named, and a database that is none of attic, are told', async () => {
    await assert.rejects(
      migrateHere(scratch, { database: ours.url, storage: scratch.path, toml }),
      /cannot read attic's database: it has no column cache\.keypair/,
    );
    await using empty = await makeScratch('attic');
    const wrong = await migrateHere(empty, { database: theirs.url, storage: empty.path });
    const { migration } = wrong.get('team') ?? {};
    assert.equal(migration?.published, 0);
    assert.match(
      migration?.refused[0]?.why ?? '',
      /attic has it in the bucket '.*': name it with --storage s3:/,
    );
    assert.deepEqual(await dump(theirs.url), before);
  });
});

test('a server of before there were chunks is taken over, its files side by side', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'compressors')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('attic');
  const { paths } = await makePaths(nix, { seed: 'files', paths: 4, bytes: 300_000 });
  const key = SecretKey.generate('team');
  const [database, storage] = [scratch.join('server.db'), scratch.join('storage')];
  {
    await using attic = await AtticServer.create({ database, storage, layout: 'files' });
    const cache = await attic.addCache({ name: 'team', keypair: key.format(), public: true });
    for (const [index, path] of paths.entries())
      await attic.addObject(cache, await attic.addNar(path.nar, index % 2 === 0 ? 'xz' : 'br'), path);
  }
  const ran = await runMigrate(scratch, ['attic', '--database', database, '--storage', storage]);
  assert.equal(ran.status, 0, ran.stderr + ran.stdout.toString());
  assert.match(
    ran.stdout.toString(),
    /^team: public, priority 41, team:.*\n {2}4 paths moved, 0 were there, 0 left out, /,
  );
  await using server = await TestServer.start({ scratch });
  const all = paths.map(({ storePath }) => storePath);
  const fetched = await nix.fetchFresh(`${server.url}/team`, key.publicKey().format(), all);
  assert.equal(fetched.status, 0, fetched.stderr);
});

test('a migration that was killed goes on; a cache of the same name is not taken for an earlier run', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'compressors')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('attic');
  const { paths } = await makePaths(nix, { seed: 'killed', paths: 30, bytes: 6_000_000 });
  const key = SecretKey.generate('main');
  const [database, storage] = [scratch.join('server.db'), scratch.join('storage')];
  {
    await using attic = await AtticServer.create({ database, storage });
    const cache = await attic.addCache({ name: 'main', keypair: key.format(), public: false });
    for (const path of paths) await attic.addObject(cache, await attic.addNar(path.nar, 'none'), path);
  }
  const args = [
    'attic',
    '--database',
    database,
    '--storage',
    storage,
    '--cache',
    'main=moved',
    '--jobs',
    '1',
  ];
  const killer = new AbortController();
  const running = runMigrate(scratch, args, { signal: killer.signal }).catch((error: unknown) => error);
  const countNars = async () =>
    (await readdir(scratch.join('data/storage/moved/nar')).catch(() => [])).length;
  while ((await countNars()) < 5) await delay(5);
  killer.abort();
  await running;
  const left = await countNars();
  const from = { database, storage };
  const again = await migrateHere(scratch, { ...from, names: new Map([['main', 'moved']]) });
  const { migration } = again.get('main') ?? {};
  assert.deepEqual(migration?.refused, []);
  assert.ok(left < paths.length, `all of it was moved before the kill: ${left}`);
  assert.ok((migration?.nars ?? 0) <= paths.length - left + 1, 'it began all over');
  await using server = await TestServer.start({ scratch });
  for (const { storePath } of paths)
    assert.equal((await server.fetch(`/moved/${hashPartOf(storePath)}.narinfo`)).status, 200, storePath);

  await server.addCache({ name: 'public', public: true });
  const names = new Map([['main', 'public']]);
  const whyNot = async (merge: boolean) =>
    (await migrateHere(scratch, { ...from, names, merge })).get('main')?.why;
  assert.match((await whyNot(false)) ?? '', /there is a cache 'public' already, with keys of its own/);
  assert.match((await whyNot(true)) ?? '', /public here and the other is private/);
  const closed = await server.fetch('/api/v1/caches/public', { method: 'PATCH', body: '{"public":false}' });
  assert.equal(closed.status, 200);
  assert.equal(await whyNot(true), undefined);
  const text = await (await server.fetch(`/public/${hashPartOf(paths[0]?.storePath ?? '')}.narinfo`)).text();
  assert.match(text, /^Sig: main:/m);
  assert.match(text, /^Sig: public-1:/m);
});

function refersTo(
  { storePath, references }: { storePath: string; references: readonly string[] },
  other: string,
): boolean {
  return storePath !== other && references.includes(other);
}

/** All rows, to see that nothing was written. */
async function dump(url: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const rows: unknown[] = [];
    for (const table of ['cache', 'object', 'nar', 'chunk', 'chunkref'])
      rows.push((await client.query(`SELECT *, xmin FROM "${table}" ORDER BY id`)).rows);
    return rows;
  } finally {
    await client.end();
  }
}
