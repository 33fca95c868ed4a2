import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, utimes } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { DiskStorage } from '@larder/cache-server/storage/disk';
import { S3Storage } from '@larder/cache-server/storage/s3';
import { type ByteRange, type ObjectStorage, readObject } from '@larder/cache-server/storage/storage';
import { hasCode } from '@larder/signing/errors';
import { needsComponent } from '../engines/components.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch } from '../engines/scratch.js';

/** A storage under test, and what its engine holds that no key shows. */
interface Subject extends AsyncDisposable {
  readonly storage: ObjectStorage;
  leftovers(): Promise<number>;
  /** Makes what is there now look this old; engines that cannot return false. */
  age(milliseconds: number): Promise<boolean>;
}

const MIB = 2 ** 20;
const PART = 5 * MIB;

async function openDisk(): Promise<Subject> {
  const scratch = await makeScratch('storage');
  const storage = await DiskStorage.open(scratch.path);
  const staging = scratch.join('.staging');
  return {
    storage,
    leftovers: async () => (await readdir(staging)).length,
    async age(milliseconds) {
      const then = new Date(Date.now() - milliseconds);
      for (const name of await readdir(staging)) await utimes(join(staging, name), then, then);
      return true;
    },
    async [Symbol.asyncDispose]() {
      await storage[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

async function openS3(): Promise<Subject> {
  const bucket = await openBucket();
  const { endpoint, region, accessKeyId, secretAccessKey } = bucket;
  const storage = new S3Storage({
    bucket: bucket.bucket,
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    pathStyle: true,
    partSize: PART,
    prefix: 'team/',
  });
  return {
    storage,
    async leftovers() {
      const uploads = await bucket.client.send(new ListMultipartUploadsCommand({ Bucket: bucket.bucket }));
      return uploads.Uploads?.length ?? 0;
    },
    age: async () => false,
    async [Symbol.asyncDispose]() {
      await storage[Symbol.asyncDispose]();
      await bucket[Symbol.asyncDispose]();
    },
  };
}

async function* pieces(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function* failing(bytes: number): AsyncIterable<Uint8Array> {
  for (let sent = 0; sent < bytes; sent += MIB) yield randomBytes(MIB);
  throw new Error('the client went away');
}

function digest(bytes: Uint8Array | undefined): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex');
}

async function keys(storage: ObjectStorage, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const object of storage.list(prefix)) found.push(object.key);
  return found;
}

/** What every engine promises (`storage.ts` says it in words). */
async function contract(t: TestContext, subject: Subject): Promise<void> {
  const { storage } = subject;

  await t.test('a small object comes back, and is replaced by the next', async () => {
    await storage.put('main/nix-cache-info', Buffer.from('one'), { contentType: 'text/x-nix-cache-info' });
    await storage.put('main/nix-cache-info', Buffer.from('three'));
    assert.equal((await readObject(storage, 'main/nix-cache-info'))?.toString(), 'three');
    assert.equal((await storage.head('main/nix-cache-info'))?.size, 5);
  });

  await t.test('an empty object is an object', async () => {
    await storage.put('main/log/empty.drv', new Uint8Array());
    assert.equal((await readObject(storage, 'main/log/empty.drv'))?.length, 0);
  });

  await t.test('what is not there is undefined, and no error to delete', async () => {
    assert.equal(await storage.get('main/absent'), undefined);
    assert.equal(await storage.head('main/nix-cache-info/below'), undefined);
    await storage.delete(['main/absent', 'nowhere/at/all']);
  });

  for (const size of [1, PART - 1, PART, PART + 1, 3 * PART + 12345])
    await t.test(`${size} staged bytes are invisible until published, then whole`, async () => {
      const bytes = randomBytes(size);
      const key = `main/nar/size-${size}.nar.zst`;
      {
        await using staged = await storage.stage(pieces(bytes, 100_000), { contentType: 'application/x' });
        assert.equal(staged.size, size);
        assert.equal(await storage.head(key), undefined);
        await staged.publish(key);
      }
      assert.equal(digest(await readObject(storage, key)), digest(bytes));
      assert.deepEqual(await keys(storage, 'main/nar/size-' + size), [key]);
      assert.equal(await subject.leftovers(), 0);
    });

  await t.test('staging under a known key is as invisible', async () => {
    const bytes = randomBytes(2 * PART);
    await using staged = await storage.stage(pieces(bytes, MIB), { key: 'main/nar/known' });
    assert.equal(await storage.head('main/nar/known'), undefined);
    await staged.publish('main/nar/known');
    assert.equal(digest(await readObject(storage, 'main/nar/known')), digest(bytes));
  });

  await t.test('staged bytes that are not published are gone', async () => {
    {
      await using staged = await storage.stage(pieces(randomBytes(2 * PART), MIB), { key: 'main/dropped' });
      assert.equal(staged.size, 2 * PART);
    }
    assert.equal(await storage.head('main/dropped'), undefined);
    assert.equal(await subject.leftovers(), 0);
  });

  for (const size of [0, MIB, 4 * PART])
    await t.test(`a source that fails after ${size} bytes leaves nothing`, async () => {
      await assert.rejects(storage.stage(failing(size), { key: 'main/failed' }), /the client went away/);
      assert.equal(await storage.head('main/failed'), undefined);
      assert.equal(await subject.leftovers(), 0);
    });

  await t.test('an upload that is aborted leaves nothing', async () => {
    const controller = new AbortController();
    async function* source(): AsyncIterable<Uint8Array> {
      for (let sent = 0; ; sent++) {
        if (sent === 12) controller.abort();
        yield randomBytes(MIB);
      }
    }
    await assert.rejects(storage.stage(source(), { signal: controller.signal }), { name: 'AbortError' });
    assert.equal(await subject.leftovers(), 0);
  });

  await t.test('ranges are inclusive and know the whole size', async () => {
    await storage.put('main/ranged', Buffer.from('0123456789'));
    await using object = await storage.get('main/ranged', { range: { start: 2, end: 4 } });
    assert.equal(object?.size, 10);
    const chunks: Uint8Array[] = [];
    for await (const chunk of object?.body ?? []) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), '234');
  });

  await t.test('a reader finishes undisturbed while its object is replaced or deleted', async () => {
    const bytes = randomBytes(6 * MIB);
    await storage.put('main/replaced', bytes);
    await using object = await storage.get('main/replaced');
    const iterator = object?.body[Symbol.asyncIterator]();
    const first = await iterator?.next();
    await storage.put('main/replaced', Buffer.from('new'));
    await storage.delete(['main/replaced']);
    const hash = createHash('sha256').update(first?.value as Uint8Array);
    for (let next = await iterator?.next(); next?.done === false; next = await iterator?.next())
      hash.update(next.value);
    assert.equal(hash.digest('hex'), digest(bytes));
    assert.equal(await storage.head('main/replaced'), undefined);
  });

  await t.test('lists are sorted, by prefix, across pages and directories', async () => {
    const names = ['a', 'a/b', 'a-c', 'ab'].map((name) => `listed/${name}x`);
    for (let index = 0; index < 60; index++) names.push(`listed/many/${index.toString().padStart(3, '0')}`);
    await Promise.all(names.map((name) => storage.put(name, Buffer.from('.'))));
    assert.deepEqual(await keys(storage, 'listed/'), [...names].sort());
    assert.deepEqual(await keys(storage, 'listed/a'), names.slice(0, 4).sort());
    assert.deepEqual(await keys(storage, 'listed/nothing'), []);
    assert.deepEqual(await storage.listCaches(), ['listed', 'main']);
    await storage.delete(names);
    assert.deepEqual(await keys(storage, 'listed/'), []);
  });

  await t.test('names that Nix uses are keys', async () => {
    const names = [
      'main/log/0c0zp3bsa4xw4sqhkb0xzr2brmbkm8hc-a?b=c+d_e.f.drv',
      'main/realisations/sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out.doi',
    ];
    for (const name of names) await storage.put(name, Buffer.from(name));
    for (const name of names) assert.equal((await readObject(storage, name))?.toString(), name);
  });

  await t.test('keys that could leave the root are refused', async () => {
    const bad = [
      '',
      '/',
      '../x',
      'a/../../x',
      'a//b',
      'a/./b',
      '.staging/x',
      'a/b\0c',
      'a\\b',
      `a/${'x'.repeat(256)}`,
    ];
    for (const key of bad) {
      for (const run of [
        () => storage.put(key, Buffer.from('x')),
        () => storage.get(key),
        () => storage.head(key),
      ])
        await assert.rejects(run, (error) => hasCode(error, 'storage-key-malformed'), key);
    }
  });

  await t.test('a sweep removes what died long ago and spares what runs', async () => {
    await using staged = await storage.stage(pieces(randomBytes(2 * PART), MIB));
    assert.equal(await subject.leftovers(), 1);
    if (await subject.age(5000)) assert.equal(await storage.sweep(new Date(Date.now() - 10_000)), 0);
    assert.equal(await storage.sweep(new Date(Date.now() - 86_400_000)), 0);
    assert.equal(await storage.sweep(new Date(Date.now() + 60_000)), 1);
    assert.equal(await subject.leftovers(), 0);
    await assert.rejects(staged.publish('main/swept'), (error) => hasCode(error, 'storage-failed'));
  });

  await t.test('the storage says that it works', () => storage.check());
}

test('storage on disk', async (t) => {
  await using subject = await openDisk();
  await contract(t, subject);
});

test('storage on S3', async (t) => {
  if (!needsComponent(t, 's3')) return;
  await using subject = await openS3();
  await contract(t, subject);
});

test('a bucket that is not there is a fault, not an absence', async (t) => {
  if (!needsComponent(t, 's3')) return;
  await using bucket = await openBucket();
  const { endpoint, accessKeyId, secretAccessKey } = bucket;
  const credentials = { accessKeyId, secretAccessKey };
  await using storage = new S3Storage({ bucket: 'no-such-bucket', endpoint, credentials });
  const attempts = [
    () => storage.check(),
    () => storage.get('main/x'),
    () => storage.put('main/x', Buffer.alloc(1)),
  ];
  for (const attempt of attempts) await assert.rejects(attempt, (error) => hasCode(error, 'storage-failed'));
});

test('a file on disk goes to a socket by the short way, whole or in part, and what is cut off is let go', async () => {
  await using scratch = await makeScratch('send');
  const storage = await DiskStorage.open(scratch.path);
  const bytes = randomBytes(3 * MIB + 17);
  await storage.put('a', bytes);
  const sendings: Promise<boolean>[] = [];
  const send = async (socket: Socket, range?: ByteRange): Promise<void> => {
    await using object = await storage.get('a', range === undefined ? {} : { range });
    await object?.sendTo?.(socket);
    socket.end();
  };
  const ranges = [undefined, { start: 5, end: 2 * MIB }];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    sendings.push(
      send(socket, ranges.shift()).then(
        () => true,
        () => false,
      ),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  assert.ok((await buffer(connect(port, '127.0.0.1'))).equals(bytes));
  assert.ok((await buffer(connect(port, '127.0.0.1'))).equals(bytes.subarray(5, 2 * MIB + 1)));
  const open = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
  const before = await open();
  for (let at = 0; at < 20; at++) {
    const client = connect(port, '127.0.0.1');
    await once(client, 'data');
    client.resetAndDestroy();
  }
  const isWhole = await Promise.all(sendings);
  assert.deepEqual(isWhole, [true, true, ...Array.from({ length: 20 }, () => false)]);
  server.close();
  await once(server, 'close');
  assert.ok((await open()) <= before, 'descriptors are closed');
});
