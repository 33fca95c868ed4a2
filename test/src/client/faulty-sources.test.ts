import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { hasCode, LarderError } from '@larder/signing/errors';
import { SecretKey } from '@larder/signing/key';
import { writeNar } from '@larder/signing/nar-writer';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { parseStorePath, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { addNar, addPath } from '@larder/substituter/local-store/add-path';
import { makeClosure } from '../closures/closure.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { defaultStoreDir } from '../store-dir.js';
import { TestClient } from './client.js';
import { answer, breakOff, startFaultyCache } from './faulty-cache.js';

/** Large enough that its archive comes in many pieces. */
const bigSize = 3_000_000;

describe('a cache that goes wrong', () => {
  let scratch: Scratch;
  let client: TestClient;
  let path: StorePath;
  let cache: string;
  let key: SecretKey;
  let stores = 0;

  before(async () => {
    scratch = await makeScratch('faulty');
    client = TestClient.create('connect-timeout = 1');
    key = SecretKey.generate('good-1');
    await writeFile(scratch.join('secret'), key.format());
    await mkdir(scratch.join('tree'));
    await writeFile(scratch.join('tree/big'), randomBytes(bigSize));
    const store = await client.openStore(scratch.join('source'));
    ({ storePath: path } = await addPath(store, scratch.join('tree')));
    await store.close();
    cache = scratch.join('cache');
    const to = `file://${cache}?secret-key=${scratch.join('secret')}`;
    await client.copy([path], { from: [`local?root=${scratch.join('source')}`], to });
  });
  after(async () => {
    await client[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  /** Copies into a store of its own; gives the events. */
  async function fetchFrom(...from: string[]): Promise<CopyEvent[]> {
    const events: CopyEvent[] = [];
    const to = `local?root=${scratch.join(`store-${++stores}`)}`;
    await client.copy([path], { from, to, onEvent: (event) => events.push(event) });
    return events;
  }

  const isNar = (url: string | undefined) => url?.startsWith('/nar/') === true;

  test('that breaks off is asked for the rest, by range', async () => {
    let broken = 0;
    await using server = await startFaultyCache(cache, (request, response, body) => {
      if (!isNar(request.url) || broken++ > 0) return false;
      breakOff(response, body!, { size: 1_000_000, headers: { etag: '"one"' } });
      return true;
    });
    await fetchFrom(server.url);
    assert.match(server.requests.at(-1)!, /bytes=[1-9]\d*-$/);
  });

  test('that breaks off and grants no ranges is read again from the start', async () => {
    let broken = 0;
    await using server = await startFaultyCache(cache, (request, response, body) => {
      if (!isNar(request.url)) return false;
      if (broken++ > 1) response.writeHead(200, { 'content-length': body!.length }).end(body);
      else breakOff(response, body!, { size: 500_000 * broken });
      return true;
    });
    await fetchFrom(server.url);
    assert.equal(server.requests.filter((request) => request.includes('/nar/')).length, 3);
  });

  test('that is overloaded is given the time it asks for', async () => {
    let refused = 0;
    await using server = await startFaultyCache(cache, (_request, response) => {
      if (refused++ > 1) return false;
      response.writeHead(refused === 1 ? 503 : 429, { 'retry-after': '1' }).end('busy');
      return true;
    });
    const started = performance.now();
    await fetchFrom(server.url);
    assert.ok(performance.now() - started > 1900);
  });

  test('that has a damaged archive is left for one that has a good one', async () => {
    await using bad = await startFaultyCache(cache, (request, response, body) => {
      if (!isNar(request.url)) return false;
      const damaged = Buffer.from(body!);
      damaged[bigSize / 2]! ^= 1;
      answer(request, response, damaged);
      return true;
    });
    await using good = await startFaultyCache(cache, () => false);
    const events = await fetchFrom(bad.url, good.url);
    const retried = events.find((event) => event.type === 'retried');
    assert.equal(retried?.source, good.url);
  });

  test('that alone has the archive, and damaged, fails the copy and leaves nothing behind', async () => {
    await using bad = await startFaultyCache(cache, (request, response, body) => {
      if (!isNar(request.url)) return false;
      answer(request, response, body!.subarray(0, body!.length - 100));
      return true;
    });
    await assert.rejects(fetchFrom(bad.url), LarderError);
    const left = await readdir(scratch.join(`store-${stores}/nix/store`));
    assert.deepEqual(left, ['.links']);
  });

  test('that speaks of a build that is gone is left for one that has another, which is recorded as what it is', async () => {
    const gone = `sha256:${'0'.repeat(52)}`;
    await using stale = await startFaultyCache(cache, (request, response, body) => {
      if (isNar(request.url)) response.writeHead(404).end();
      else if (request.url?.endsWith('.narinfo') === true)
        response.end(body!.toString().replace(/^NarHash: .*$/m, `NarHash: ${gone}`));
      else return false;
      return true;
    });
    await using good = await startFaultyCache(cache, () => false);
    await fetchFrom(stale.url, good.url);
    const store = await client.openStore(scratch.join(`store-${stores}`));
    const { narHash } = (await store.queryPathInfo(path))!;
    const actual = await client.context.work.hashPath(store.realPath(path));
    await store.close();
    assert.equal(narHash.toString(), actual.narHash.toString());
  });

  test('that lost the archive is left for the next', async () => {
    await using bad = await startFaultyCache(cache, (request, response) => {
      if (!isNar(request.url)) return false;
      response.writeHead(404).end();
      return true;
    });
    await fetchFrom(bad.url, `file://${cache}`);
  });

  test('that is down costs its time-out once, not once a path', async () => {
    const objects = await makeClosure(scratch.join('many'), { seed: 'down', paths: 40, bytes: 40_000 });
    const store = await client.openStore(scratch.join('many-store'));
    const paths: StorePath[] = [];
    for (const { tree } of objects) paths.push((await addPath(store, tree)).storePath);
    await store.close();
    await client.copy(paths, {
      from: [`local?root=${scratch.join('many-store')}`],
      to: `file://${scratch.join('many-cache')}`,
    });
    // It accepts connections and never says a word: the worst kind of down.
    let connections = 0;
    const mute = createServer((socket) => {
      connections++;
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = mute.address();
    assert.ok(typeof address === 'object' && address !== null);
    await using impatient = TestClient.create('stalled-download-timeout = 1\ndownload-attempts = 1');
    const started = performance.now();
    const { copied } = await impatient.copy(paths, {
      from: [`http://127.0.0.1:${address.port}`, `file://${scratch.join('many-cache')}`],
      to: `local?root=${scratch.join('many-copy')}`,
    });
    mute.close();
    assert.equal(copied.length, 40);
    assert.ok(connections <= 2, `${connections} connections`);
    assert.ok(performance.now() - started < 5000);
  });

  test('whose archive stands still in its middle gives way to another that has it: no byte comes twice', async () => {
    const tree = scratch.join('large');
    await writeFile(tree, randomBytes(2_000_000));
    const store = await client.openStore(scratch.join('large-store'));
    const { storePath } = await addPath(store, tree);
    await store.close();
    const directory = scratch.join('large-cache');
    await client.copy([storePath], {
      from: [`local?root=${scratch.join('large-store')}`],
      to: `file://${directory}`,
    });
    const part = 700_000;
    await using still = await startFaultyCache(directory, (request, response, body) => {
      if (request.url?.startsWith('/nar/') !== true || body === undefined) return false;
      response.writeHead(200, { 'content-length': body.length, etag: '"one"' }).write(body.subarray(0, part));
      return true;
    });
    await using good = await startFaultyCache(directory, (request, response, body) => {
      const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
      if (body === undefined || Number.isNaN(start)) return false;
      const range = `bytes ${start}-${body.length - 1}/${body.length}`;
      response.writeHead(206, { 'content-range': range }).end(body.subarray(start));
      return true;
    });
    // One try: nothing but the other cache can save it.
    await using single = TestClient.create('download-attempts = 1');
    const to = `local?root=${scratch.join('large-copy')}`;
    const { copied } = await single.copy([storePath], { from: [still.url, good.url], to });
    assert.equal(copied.length, 1);
    const ofNars = ({ requests }: { readonly requests: readonly string[] }) =>
      requests.filter((request) => request.includes('/nar/')).map((request) => request.split(' ')[2]);
    assert.deepEqual([ofNars(still), ofNars(good)], [[undefined], [`bytes=${part}-`]]);
  });

  test('that does not answer one request is asked again, while others are waited for no longer than usual', async () => {
    const objects = await makeClosure(scratch.join('some'), { seed: 'hedge', paths: 40, bytes: 40_000 });
    const store = await client.openStore(scratch.join('some-store'));
    const paths: StorePath[] = [];
    for (const { tree } of objects) paths.push((await addPath(store, tree)).storePath);
    await store.close();
    const directory = scratch.join('some-cache');
    const to = `file://${directory}`;
    await client.copy(paths, { from: [`local?root=${scratch.join('some-store')}`], to });
    const hung = `/${storePathHashPart(paths.at(-1)!)}.narinfo`;
    let hangs = 0;
    await using server = await startFaultyCache(
      directory,
      (request) => request.url === hung && hangs++ === 0,
    );
    const { copied } = await client.copy(paths, {
      from: [server.url],
      to: `local?root=${scratch.join('some-copy')}`,
    });
    assert.equal(copied.length, 40);
    assert.equal(hangs, 2);
  });

  test('that is for another store directory is refused', async () => {
    await using server = await startFaultyCache(cache, (request, response) => {
      if (request.url !== '/nix-cache-info') return false;
      response.end('StoreDir: /gnu/store\n');
      return true;
    });
    await assert.rejects(fetchFrom(server.url), (error) => hasCode(error, 'cache-store-dir-mismatch'));
  });

  test('whose narinfo is of another path is no source of this one', async () => {
    const other = parseStorePath(`${storePathHashPart(path)}-other`);
    await using server = await startFaultyCache(cache, () => false);
    await assert.rejects(
      client.copy([other], { from: [server.url], to: `local?root=${scratch.join('other')}` }),
      (error) => hasCode(error, 'path-not-found'),
    );
  });
});

describe('trust', () => {
  /** A cache with one path that is not content-addressed, with these signatures. */
  async function signedCache(
    scratch: Scratch,
    signers: readonly SecretKey[],
  ): Promise<{ path: StorePath; uri: string }> {
    const [object] = await makeClosure(scratch.join('trees'), { seed: 'trust', paths: 1 });
    await using client = TestClient.create();
    const store = await client.openStore(scratch.join('source'));
    const { narHash, narSize } = await addPath(store, object!.tree);
    const path = object!.storePath;
    await addNar(
      store,
      { storePath: path, narHash, narSize, references: [], signatures: [] },
      writeNar(object!.tree),
    );
    await store.close();
    const keys = await Promise.all(
      signers.map(async (signer) => {
        const file = scratch.join(signer.publicKey().name);
        await writeFile(file, signer.format());
        return file;
      }),
    );
    const uri = `file://${scratch.join('cache')}`;
    const to = `${uri}?secret-keys=${keys.join(',')}`;
    await client.copy([path], { from: [`local?root=${scratch.join('source')}`], to });
    return { path, uri };
  }

  test('a path that a trusted key signed comes in; others are refused by path, cache and keys', async () => {
    await using scratch = await makeScratch('trust');
    await using client = TestClient.create();
    const good = SecretKey.generate('good-1');
    const other = SecretKey.generate('other-1');
    const { path, uri } = await signedCache(scratch, [good]);
    const copy = (keys: string[], to: string) =>
      client.copy([path], {
        from: [uri],
        to: `local?root=${scratch.join(to)}`,
        keys,
        requireSignatures: true,
      });
    await assert.rejects(copy([other.publicKey().format()], 'a'), (error: Error) => {
      assert.ok(hasCode(error, 'signature-untrusted'));
      for (const word of [path, uri, 'good-1', 'other-1']) assert.match(error.message, new RegExp(word));
      return true;
    });
    await assert.rejects(copy([], 'a'), (error) => hasCode(error, 'signature-untrusted'));
    // A key of the right name that did not make the signature.
    await assert.rejects(copy([SecretKey.generate('good-1').publicKey().format()], 'a'), /does not verify/);
    assert.equal((await copy([other.publicKey().format(), good.publicKey().format()], 'a')).copied.length, 1);
  });

  test('an unsigned copy is passed over for a signed one', async () => {
    await using unsignedScratch = await makeScratch('trust');
    await using signedScratch = await makeScratch('trust');
    await using client = TestClient.create();
    const key = SecretKey.generate('good-1');
    const unsigned = await signedCache(unsignedScratch, []);
    const signed = await signedCache(signedScratch, [key]);
    const { copied } = await client.copy([signed.path], {
      from: [unsigned.uri, signed.uri],
      to: `local?root=${signedScratch.join('copy')}`,
      keys: [key.publicKey().format()],
      requireSignatures: true,
    });
    assert.deepEqual(copied, [signed.path]);
  });

  test('a narinfo that claims a content address its contents do not have is refused', async () => {
    await using scratch = await makeScratch('trust');
    await using client = TestClient.create();
    const store = await client.openStore(scratch.join('source'));
    await writeFile(scratch.join('honest'), 'honest\n');
    await writeFile(scratch.join('evil'), 'evil\n');
    const honest = await addPath(store, scratch.join('honest'), { method: 'flat', name: 'file' });
    const evil = await addPath(store, scratch.join('evil'), { method: 'flat', name: 'file' });
    await store.close();
    const directory = scratch.join('cache');
    await client.copy([evil.storePath], {
      from: [`local?root=${scratch.join('source')}`],
      to: `file://${directory}`,
    });
    const name = (path: StorePath) => `${directory}/${storePathHashPart(path)}.narinfo`;
    const info = parseNarInfo(await readFile(name(evil.storePath), 'utf8'), defaultStoreDir);
    const { storePath, ca } = honest;
    await writeFile(name(storePath), formatNarInfo({ ...info, storePath, ca }, defaultStoreDir));
    await assert.rejects(
      client.copy([storePath], {
        from: [`file://${directory}`],
        to: `local?root=${scratch.join('copy')}`,
        requireSignatures: true,
      }),
      (error) => hasCode(error, 'nar-hash-mismatch'),
    );
  });
});
