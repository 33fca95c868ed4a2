import assert from 'node:assert/strict';
import { access, appendFile, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { copyStorage } from '@larder/cache-server/admin/copy-storage';
import { deleteExpiredNars } from '@larder/cache-server/collect/expired-nars';
import { Leases } from '@larder/cache-server/leases/leases';
import { reindex } from '@larder/cache-server/reindex';
import { openFoundation } from '@larder/cache-server/start';
import { DiskStorage } from '@larder/cache-server/storage/disk';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import { pino } from 'pino';
import { TestClient } from '../client/client.js';
import { needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, samplePath } from './sample-path.js';

const BUILD_ID = 'ab'.repeat(20);
const DEBUG_FILE = `lib/debug/.build-id/${BUILD_ID.slice(0, 2)}/${BUILD_ID.slice(2)}.debug`;
const CONTENTS = 'ELF, or so\n'.repeat(100_000);

interface StockCache {
  readonly directory: string;
  readonly publicKey: string;
  /** In as many compressions. */
  readonly paths: string[];
}

/** A cache as `nix copy --to file://…` makes it, signed, with an index of debug information. */
async function makeStockCache(nix: Nix): Promise<StockCache> {
  const directory = nix.scratch.join('cache-of-nix');
  const secret = nix.scratch.join('secret');
  await writeFile(secret, await nix.run('nix', ['key', 'generate-secret', '--key-name', 'old-1']));
  const publicKey = await nix.run('nix', ['key', 'convert-secret-to-public'], {
    input: await readFile(secret),
  });
  const paths: string[] = [];
  for (const compression of ['xz', 'zstd', 'bzip2', 'none', 'gzip']) {
    const tree = nix.scratch.join(`tree-${compression}`);
    await mkdir(`${tree}/${DEBUG_FILE}`.replace(/\/[^/]*$/, ''), { recursive: true });
    await writeFile(`${tree}/${DEBUG_FILE}`, compression + CONTENTS);
    await writeFile(`${tree}/name`, compression);
    const added = await nix.add(tree);
    const query = `secret-key=${secret}&compression=${compression}&index-debug-info=true`;
    await nix.run('nix', ['copy', '--to', `file://${directory}?${query}`, ...added]);
    paths.push(...added);
  }
  return { directory, publicKey, paths };
}

const hashPartOf = (path: string): string => path.slice('/nix/store/'.length, '/nix/store/'.length + 32);

test('a cache that stock Nix filled is taken over where it is', async (t) => {
  needsComponent(t, 'nix');
  await using nix = await Nix.create();
  const stock = await makeStockCache(nix);
  await using scratch = await makeScratch('adopted');
  await mkdir(scratch.join('data/storage'), { recursive: true });
  const directory = scratch.join('data/storage/old');
  await rename(stock.directory, directory);
  const files = (await readdir(`${directory}/nar`)).sort();
  // The first start finds a bucket, and an empty database.
  await using server = await TestServer.start({ scratch });
  const at = `${server.url}/old`;
  const [xz = '', zstd = ''] = stock.paths;

  await t.test('it is not shown to everyone before somebody says so', async () => {
    assert.equal((await fetch(`${at}/nix-cache-info`)).status, 401);
    const body = '{"public":true}';
    assert.equal((await server.fetch('/api/v1/caches/old', { method: 'PATCH', body })).status, 200);
    assert.match(await (await fetch(`${at}/nix-cache-info`)).text(), /^WantMassQuery: 1$/m);
  });

  await t.test('stock Nix and Larder fetch from it, by the key it was signed with', async () => {
    const fetched = await nix.fetchFresh(at, stock.publicKey, stock.paths);
    assert.equal(fetched.status, 0, fetched.stderr);
    await using client = TestClient.create();
    await client.copy(
      stock.paths.map((path) => parseStorePath(path.slice('/nix/store/'.length))),
      {
        from: [at],
        to: `local?root=${scratch.join('root')}`,
        keys: [stock.publicKey],
        requireSignatures: true,
      },
    );
  });

  await t.test('narinfos and NARs are as they were, and files come out of them', async () => {
    for (const path of stock.paths) {
      const name = `${hashPartOf(path)}.narinfo`;
      const text = await (await fetch(`${at}/${name}`)).text();
      assert.equal(text, await readFile(`${directory}/${name}`, 'utf8'));
      const url = /^URL: (.*)$/m.exec(text)?.[1] ?? '';
      const nar = await readFile(`${directory}/${url}`);
      assert.equal((await fetch(`${at}/${url}`, { method: 'HEAD' })).status, 200);
      assert.ok(Buffer.from(await (await fetch(`${at}/${url}`)).arrayBuffer()).equals(nar));
      const part = await fetch(`${at}/${url}`, { headers: { range: 'bytes=5-8' } });
      assert.ok(Buffer.from(await part.arrayBuffer()).equals(nar.subarray(5, 9)));
      const served = `${at}/serve/${hashPartOf(path)}`;
      const compression = await (await fetch(`${served}/name`)).text();
      assert.ok(path.endsWith(compression), path);
      const middle = await fetch(`${served}/${DEBUG_FILE}`, { headers: { range: 'bytes=1000000-1000020' } });
      assert.equal(await middle.text(), (compression + CONTENTS).slice(1_000_000, 1_000_021));
    }
    assert.equal((await fetch(`${at}/nar/${'0'.repeat(52)}.nar.xz`)).status, 404);
  });

  await t.test('gdb finds debug information by build id', async () => {
    const answer = await fetch(`${at}/buildid/${BUILD_ID}/debuginfo`);
    assert.equal(answer.status, 200);
    // Nix keeps the link that came first.
    assert.equal(await answer.text(), `xz${CONTENTS}`);
    assert.equal((await fetch(`${at}/buildid/${'0'.repeat(40)}/debuginfo`)).status, 404);
  });

  await t.test('what is pushed may refer to it, and have a NAR that is here', async () => {
    const text = await (await fetch(`${at}/${hashPartOf(xz)}.narinfo`)).text();
    const field = (key: string): string => new RegExp(`^${key}: (.*)$`, 'm').exec(text)?.[1] ?? '';
    const twin: StorePath = parseStorePath(`${samplePath('twin').hashPart}-twin`);
    const base = { storePath: parseStorePath(xz.slice(11)) };
    const user = samplePath('user', [{ ...samplePath('x'), ...base, hashPart: hashPartOf(xz) }]);
    assert.equal((await server.put(`/api/v1/caches/old/nars/${bare(user.narHash)}`, user.nar)).status, 201);
    const paths = [
      commitOf(user),
      { storePath: twin, narHash: field('NarHash'), narSize: Number(field('NarSize')), references: [] },
    ];
    const answer = await server.post('/api/v1/caches/old/commit', { paths });
    assert.equal(answer.status, 200, await answer.text());
    const shown = await (await fetch(`${at}/${samplePath('twin').hashPart}.narinfo`)).text();
    assert.match(shown, new RegExp(`^URL: ${field('URL')}\nCompression: xz$`, 'm'));
    const { publicKeys } = (await (await server.fetch('/api/v1/caches/old')).json()) as {
      publicKeys: string[];
    };
    const fetched = await nix.fetchFresh(at, `${stock.publicKey} ${publicKeys.join(' ')}`, [
      `/nix/store/${user.storePath}`,
    ]);
    assert.equal(fetched.status, 0, fetched.stderr);
  });

  await t.test('stock Nix need not send again what is there', async () => {
    await nix.login(server.token);
    const sent = await nix.try('nix', ['copy', '--to', at, ...stock.paths]);
    assert.equal(sent.status, 0, sent.stderr);
    const now = (await readdir(`${directory}/nar`)).filter((name) => !name.endsWith('.nar.zst'));
    assert.deepEqual(
      now.sort(),
      files.filter((name) => !name.endsWith('.nar.zst')),
    );
  });

  await t.test('a path that goes takes its NAR along, when its time is up', async () => {
    const url =
      /^URL: (.*)$/m.exec(await (await fetch(`${at}/${hashPartOf(zstd)}.narinfo`)).text())?.[1] ?? '';
    const gone = await server.fetch(`/api/v1/caches/old/paths/${zstd.slice(11)}`, { method: 'DELETE' });
    assert.ok(gone.ok, await gone.text());
    const { services } = server.running;
    const cache = await services.caches.find('old');
    assert.ok(cache !== undefined);
    const options = { ...services, leases: new Leases(services.database) };
    const { nars } = await deleteExpiredNars(options, cache, { now: Date.now() + 365 * 86_400_000 });
    assert.equal(nars, 1);
    await assert.rejects(access(`${directory}/${url}`));
  });
});

test('what is damaged, or not as Nix lays it out, is left out with the reason', async (t) => {
  needsComponent(t, 'nix');
  await using nix = await Nix.create();
  const { directory, paths } = await makeStockCache(nix);
  const change = async (index: number, edit: (text: string) => string): Promise<void> => {
    const file = `${directory}/${hashPartOf(paths[index] ?? '')}.narinfo`;
    await writeFile(file, edit(await readFile(file, 'utf8')));
  };
  const [first] = (await readFile(`${directory}/${hashPartOf(paths[0] ?? '')}.narinfo`, 'utf8')).match(
    /nar\/.*/,
  ) ?? [''];
  await appendFile(`${directory}/${first}`, 'x');
  await change(1, (text) => text.replace(/^URL: /m, 'URL: https://elsewhere.example/'));
  await change(2, (text) => text.replace(/^Compression: .*/m, 'Compression: rot13'));
  await change(3, (text) => text.replace(/^URL: nar\//m, 'URL: ../other/nar/'));
  await change(4, (text) => text.replace(/^NarSize: .*/m, 'NarSize: 1000'));
  await using scratch = await makeScratch('adopted');
  await mkdir(scratch.join('data/storage'), { recursive: true });
  {
    // Its root is the cache, as in a bucket that nix copy filled.
    await using bucket = await DiskStorage.open(directory);
    await using storage = await DiskStorage.open(scratch.join('data/storage'));
    const { copied } = await copyStorage(bucket, storage, { as: 'old' });
    assert.ok(copied >= 4 * 2 + 1, `${copied}`);
  }
  await using server = await TestServer.start({ scratch });
  // Nobody can tell before its NAR is read, which goes no further than that.
  const lying = hashPartOf(paths.pop() ?? '');
  assert.equal((await server.fetch(`/old/${lying}.narinfo`)).status, 200);
  assert.equal((await errorOf(await server.fetch(`/old/serve/${lying}`))).code, 'codec-too-large');
  for (const path of paths)
    assert.equal((await server.fetch(`/old/${hashPartOf(path)}.narinfo`)).status, 404);
  await using foundation = await openFoundation(server.config, pino({ level: 'silent' }));
  const found = (await reindex(foundation)).find(({ cache }) => cache === 'old');
  const reasons = found?.refused.map(({ why }) => why).join('\n') ?? '';
  for (const reason of [
    / bytes, not /,
    /'https:.*not of the form nar/,
    /'rot13' is not known/,
    /'\.\.\/other/,
  ])
    assert.match(reasons, reason);
});
