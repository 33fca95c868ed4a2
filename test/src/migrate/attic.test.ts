import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fsck } from '@larder/cache-server/admin/fsck';
import { SecretKey } from '@larder/signing/key';
import { needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { TestServer } from '../server/running.js';
import { type AtticCompression, AtticServer, fingerprintOf, hexHash } from './attic-server.js';
import { hashPartOf, makePaths, migrateHere, openServer, parseResults, runMigrate } from './migrating.js';

const COMPRESSIONS: readonly AtticCompression[] = ['zstd', 'br', 'xz', 'none'];

test('an attic server on SQLite and a disk is taken over', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'compressors')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('attic');
  const { paths, builder } = await makePaths(nix, { seed: 'attic', paths: 14, bytes: 800_000 });
  const home = scratch.join('atticd');
  await mkdir(home);
  const file = join(home, 'server.db');
  const keys = {
    team: SecretKey.generate('team'),
    hidden: SecretKey.generate('hidden'),
    old: SecretKey.generate('old'),
  };
  const moved = { team: paths, hidden: paths.slice(0, 6), old: paths.slice(0, 1) };
  {
    await using attic = await AtticServer.create({ database: file, storage: join(home, 'storage') });
    const day = 86_400;
    const ids = {
      team: await attic.addCache({
        name: 'team',
        keypair: keys.team.format(),
        public: true,
        priority: 43,
        retention: 30 * day,
      }),
      hidden: await attic.addCache({ name: 'hidden', keypair: keys.hidden.format(), public: false }),
      old: await attic.addCache({
        name: 'Old+Stuff',
        keypair: keys.old.format(),
        public: true,
        retention: 0,
      }),
    };
    await attic.addCache({ name: 'gone', keypair: keys.old.format(), public: true, deleted: true });
    for (const [index, path] of paths.entries()) {
      const nar = await attic.addNar(path.nar, COMPRESSIONS[index % COMPRESSIONS.length] ?? 'none');
      for (const name of ['team', 'hidden', 'old'] as const)
        if (moved[name].includes(path))
          await attic.addObject(ids[name], nar, { ...path, sigs: [...path.sigs, 'no signature at all'] });
    }
  }
  const before = await fingerprintOf(home);
  const from = { database: `sqlite://${file}?mode=rwc`, storage: join(home, 'storage') };

  await t.test('a dry run counts, and makes nothing', async () => {
    const results = await migrateHere(scratch, { ...from, dryRun: true, defaultRetention: 180 * 86_400_000 });
    assert.deepEqual([...results.keys()], ['team', 'hidden', 'Old+Stuff']);
    const { migration, retention } = results.get('team') ?? {};
    assert.equal(migration?.published, paths.length);
    assert.equal(
      migration?.bytes,
      paths.reduce((sum, { nar }) => sum + nar.length, 0),
    );
    assert.deepEqual(retention, { unused: 30 * 86_400_000 });
    assert.deepEqual(results.get('hidden')?.retention, { unused: 180 * 86_400_000 });
    assert.deepEqual(await readdir(scratch.join('data/storage')), ['.staging']);
  });

  await t.test('all that can be named is moved, each NAR once', async () => {
    const args = ['attic', '--database', from.database, '--storage', from.storage, '--json'];
    const first = await runMigrate(scratch, args);
    assert.equal(first.status, 1, first.stderr);
    const results = parseResults(first);
    assert.match(results.get('Old+Stuff')?.why ?? '', /'Old\+Stuff' cannot be the name of a cache/);
    for (const name of ['team', 'hidden'] as const) {
      const { migration } = results.get(name) ?? {};
      assert.deepEqual(migration?.refused, [], name);
      assert.equal(migration?.published, moved[name].length, name);
    }
    assert.equal(results.get('hidden')?.migration?.nars, 0);
    assert.equal(results.get('hidden')?.migration?.shared, moved.hidden.length);
    const renamed = await migrateHere(scratch, { ...from, names: new Map([['Old+Stuff', 'old-stuff']]) });
    assert.equal(renamed.get('Old+Stuff')?.migration?.published, 1);
    await assert.rejects(
      migrateHere(scratch, { ...from, names: new Map([['gone', 'gone']]) }),
      /attic has no cache 'gone'; it has team, hidden, Old\+Stuff/,
    );
  });

  await t.test('again, and there is nothing to do; attic is as it was', async () => {
    const again = await migrateHere(scratch, from);
    const { migration } = again.get('team') ?? {};
    assert.deepEqual([migration?.published, migration?.present, migration?.nars], [0, paths.length, 0]);
    // Of two NARs that another cache has, one is damaged there: attic's own is read for it.
    const [nar = ''] = await readdir(scratch.join('data/storage/old-stuff/nar'));
    for (const cache of ['old-stuff', 'hidden', 'team'])
      await writeFile(scratch.join(`data/storage/${cache}/nar/${nar}`), 'not what it was');
    const third = await migrateHere(scratch, { ...from, names: new Map([['hidden', 'third']]) });
    const { nars, shared } = third.get('hidden')?.migration ?? {};
    assert.deepEqual([nars, shared], [1, moved.hidden.length - 1]);
    for (const cache of ['old-stuff', 'hidden', 'team'])
      await copyFile(
        scratch.join(`data/storage/third/nar/${nar}`),
        scratch.join(`data/storage/${cache}/nar/${nar}`),
      );
    const after = await fingerprintOf(home);
    // What SQLite makes beside for every reader of such a database: nothing is in the log.
    assert.equal(after.get(`${file}-wal`), hexHash(Buffer.alloc(0)));
    for (const suffix of ['-wal', '-shm']) after.delete(file + suffix);
    assert.deepEqual(after, before);
  });

  await using server = await TestServer.start({ scratch });

  await t.test('the caches are as they were in attic', async () => {
    const described = async (name: string) =>
      (await (await server.fetch(`/api/v1/caches/${name}`)).json()) as Record<string, unknown>;
    const team = await described('team');
    assert.deepEqual([team['public'], team['priority']], [true, 43]);
    assert.deepEqual(team['publicKeys'], [keys.team.publicKey().format()]);
    assert.deepEqual(team['retention'], { unused: 30 * 86_400 });
    const hidden = await described('hidden');
    assert.deepEqual([hidden['public'], hidden['priority'], hidden['retention']], [false, 41, undefined]);
    assert.equal((await fetch(`${server.url}/hidden/nix-cache-info`)).status, 401);
    assert.equal((await server.fetch('/main/nix-cache-info')).status, 404);
  });

  await t.test('stock Nix fetches everything by the old key alone', async () => {
    const all = paths.map(({ storePath }) => storePath);
    const fetched = await nix.fetchFresh(`${server.url}/team`, keys.team.publicKey().format(), all);
    assert.equal(fetched.status, 0, fetched.stderr);
    const byBuilder = await nix.fetchFresh(`${server.url}/old-stuff`, builder, all.slice(0, 1));
    assert.equal(byBuilder.status, 0, byBuilder.stderr);
  });

  await t.test("narinfos have the cache's signature, and those that were stored", async () => {
    const [{ storePath = '' } = {}] = paths;
    for (const name of ['team', 'hidden']) {
      const text = await (await server.fetch(`/${name}/${hashPartOf(storePath)}.narinfo`)).text();
      const signers = [...text.matchAll(/^Sig: ([^:]*):/gm)].map(([, signer]) => signer);
      assert.deepEqual(signers.sort(), ['builder-1', name]);
    }
  });

  await t.test('storage and database agree, to the last byte', async () => {
    await using foundation = await openServer(scratch);
    const faults = (await fsck(foundation, { deep: true })).flatMap((checked) => checked.faults);
    assert.deepEqual(faults, []);
  });
});

test('what attic has lost or damaged is left out, with the reason, and the rest is moved', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'compressors')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('attic');
  const storage = scratch.join('storage');
  const database = scratch.join('server.db');
  const key = SecretKey.generate('team');
  const trees = [
    'sound',
    'hole',
    'recovered',
    'count',
    'missing',
    'damaged',
    'lying',
    'pending',
    'twin',
    'wrong-path',
  ];
  const stored = new Map<string, string>();
  {
    await using attic = await AtticServer.create({ database, storage, layout: 'chunks' });
    const cache = await attic.addCache({ name: 'team', keypair: key.format(), public: true });
    for (const name of trees) {
      const tree = scratch.join(name);
      await mkdir(tree);
      // Of so many bytes that no compression shortens, four chunks at least are made.
      await writeFile(join(tree, 'data'), randomBytes(250_000));
      const [storePath = ''] = await nix.add(tree);
      stored.set(name, storePath);
      const nar = await nix.runBytes('nix-store', ['--dump', tree]);
      const compression = name === 'damaged' ? 'zstd' : 'br';
      const id = await attic.addNar(nar, compression);
      const [{ ca = '' } = {}] = name === 'sound' ? await nix.pathInfo(storePath) : [];
      await attic.addObject(cache, id, { storePath, ca });
      if (name === 'twin') await attic.addNar(nar, 'xz');
      await spoil(attic, name, { id, storePath });
    }
    // What refers to one that is lost cannot be shown, either.
    const user = scratch.join('user');
    await writeFile(user, `${stored.get('hole')}`);
    const nar = await nix.runBytes('nix-store', ['--dump', user]);
    const references = [stored.get('hole') ?? ''];
    await attic.addObject(cache, await attic.addNar(nar, 'zstd'), {
      storePath: `/nix/store/${'0'.repeat(32)}-user`,
      references,
    });
  }
  const ran = await migrateHere(scratch, { database, storage });
  const { migration } = ran.get('team') ?? {};
  const why = new Map(
    migration?.refused.map((refused) => [refused.path.replace(/^(\/nix\/store\/)?.{33}/, ''), refused.why]),
  );
  assert.match(why.get('hole') ?? '', /incomplete: attic has lost chunk 2 of \d+$/);
  assert.match(why.get('count') ?? '', /incomplete: attic's database names \d+ of 99 chunks/);
  assert.match(
    why.get('missing') ?? '',
    /^chunk 1 of \d+ \(.*\.chunk\) of its NAR is missing: .* has no file ./,
  );
  assert.match(why.get('damaged') ?? '', /^chunk 2 of \d+ \(.*\.chunk\) of its NAR is damaged: /);
  assert.match(why.get('lying') ?? '', /was to have the hash sha256:/);
  assert.match(why.get('pending') ?? '', /never uploaded whole/);
  assert.match(why.get('wrong-path') ?? '', /attic's database has it under the hash 1{32}/);
  assert.match(why.get('user') ?? '', /refers to .*-hole, which the cache does not have/);
  assert.equal(why.size, 8);
  assert.deepEqual([migration?.published, migration?.dangling], [3, 1]);
  await using server = await TestServer.start({ scratch });
  const narinfo = await (await server.fetch(`/team/${hashPartOf(stored.get('sound') ?? '')}.narinfo`)).text();
  assert.match(narinfo, /^CA: fixed:r:sha256:/m);
  const sound = ['sound', 'recovered', 'twin'].map((name) => stored.get(name) ?? '');
  const fetched = await nix.fetchFresh(`${server.url}/team`, key.publicKey().format(), sound);
  assert.equal(fetched.status, 0, fetched.stderr);

  async function spoil(
    attic: AtticServer,
    name: string,
    { id, storePath }: { id: number; storePath: string },
  ): Promise<void> {
    const chunk = `SELECT chunk_id FROM chunkref WHERE nar_id = ${id} AND seq = `;
    const remove = `UPDATE chunkref SET chunk_id = NULL WHERE nar_id = ${id} AND seq = 1`;
    if (name === 'hole' || name === 'twin')
      await attic.spoil(
        `UPDATE chunkref SET chunk_id = NULL, chunk_hash = 'sha256:gone' WHERE nar_id = ${id} AND seq = 1`,
      );
    // Attic kept what a lost chunk was, so that another with the same contents can stand in.
    if (name === 'recovered') await attic.spoil(remove);
    if (name === 'count') await attic.spoil(`UPDATE nar SET num_chunks = 99 WHERE id = ${id}`);
    if (name === 'pending') await attic.spoil(`UPDATE nar SET state = 'P' WHERE id = ${id}`);
    if (name === 'lying')
      await attic.spoil(`UPDATE nar SET nar_hash = 'sha256:${'ab'.repeat(32)}' WHERE id = ${id}`);
    if (name === 'wrong-path')
      await attic.spoil(
        `UPDATE object SET store_path_hash = '${'1'.repeat(32)}' WHERE store_path = '${storePath}'`,
      );
    if (name === 'missing') await rm(await fileOf(attic, `${chunk}0`));
    if (name === 'damaged') await writeFile(await fileOf(attic, `${chunk}1`), 'not zstd');
  }

  async function fileOf(attic: AtticServer, chunk: string): Promise<string> {
    const name = (await attic.ask(`SELECT remote_file FROM chunk WHERE id = (${chunk})`)).replace(
      /.*"name":"(.*)".*/,
      '$1',
    );
    return join(storage, name.slice(0, 1), name.slice(0, 2), name);
  }
});
