import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { compress } from '@larder/signing/codec';
import { collect, cut } from '@larder/signing/codec-sample';
import type { Compression } from '@larder/signing/compression';
import { formatFingerprint } from '@larder/signing/fingerprint';
import { SecretKey } from '@larder/signing/key';
import { defaultStoreDir } from '../../store-dir.js';
import { errorOf, TestServer } from '../running.js';
import { bare, narInfoOf, packFile, packString, type SamplePath, samplePath } from '../sample-path.js';

const MIB = 2 ** 20;
const API = '/api/v1/caches/main';

let server: TestServer;
/** One that takes NARs of any size. */
let wide: TestServer;
before(async () => {
  wide = await TestServer.start({ toml: '[upstreams]\nallow_private = ["127.0.0.1"]\n' });
  server = await TestServer.start({
    toml: '[limits]\nnar = "8 MiB"\nnarinfo = "128 KiB"\nlisting = "128 KiB"\nlog = "128 KiB"\njson = "1 MiB"\n',
  });
});
after(async () => {
  await wide[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const zeros = packFile(Buffer.alloc(12 * MIB));
const pack = (compression: Compression, bytes = zeros) => collect(compress(cut(bytes, [MIB]), compression));
/** bzip2 of 64 MiB of zeros, which Larder does not write. */
const BZIP2 =
  'QlpoOTFBWSZTWQ4J4t8BX45AAMAAAAggADCATUZCoCWpCoCXMUFZJlNZvAS1wwCidcAAwAAACCAAIKQINjKKiE0qKiE4u5IpwoSFALuD6A==';

async function codeOf(answer: Response): Promise<string> {
  const { status, code } = await errorOf(answer);
  return `${status} ${code}`;
}

/** A body that has no end; resolves with the answer, which must come all the same. */
async function putForEver(path: string, body: () => Buffer): Promise<{ status: number; code: string }> {
  const sent = request(`${wide.url}${path}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${wide.token}` },
  });
  let isOver = false;
  sent.on('error', () => {
    isOver = true;
  });
  const write = (): void => {
    while (!isOver && sent.write(body()));
    if (!isOver) sent.once('drain', () => setImmediate(write));
  };
  write();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  isOver = true;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  sent.destroy();
  const { error } = JSON.parse(Buffer.concat(chunks).toString()) as { error: { code: string } };
  return { status: response.statusCode ?? 0, code: error.code };
}

test('archives that unpack to more than may be are refused in every compression', async () => {
  const at = `${API}/nars/${bare(samplePath('bomb').narHash)}`;
  for (const compression of ['zstd', 'xz', 'br', 'gzip'] as const) {
    const bomb = await pack(compression);
    assert.ok(bomb.length < 200_000);
    const answer = await server.put(`${at}?compression=${compression}`, bomb);
    assert.equal(await codeOf(answer), '413 codec-too-large', compression);
  }
  const stock = await server.put(`/main/nar/${'1'.repeat(52)}.nar.bz2`, Buffer.from(BZIP2, 'base64'));
  // Zeros are no NAR; that they are bzip2 of zeros was seen, or it would be malformed as bzip2.
  assert.ok([413, 422].includes(stock.status), await stock.text());
});

test('what declares its size is read no further than that', async () => {
  const sample = samplePath('endless');
  const at = `${API}/nars/${bare(sample.narHash)}?narSize=1000000`;
  const frame = await pack('zstd', Buffer.alloc(4 * MIB));
  // A NAR of a file of 2^40 bytes, of which 4 MiB come again and again.
  const head = Buffer.concat(
    ['nix-archive-1', '(', 'type', 'regular', 'contents'].map((text) => packString(text)),
  );
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(2n ** 40n);
  const opening = await pack('zstd', Buffer.concat([head, size]));
  let first = true;
  const answer = await putForEver(`${at}&compression=zstd`, () => {
    const piece = first ? Buffer.concat([opening, frame]) : frame;
    first = false;
    return piece;
  });
  assert.deepEqual(answer, { status: 422, code: 'nar-size-mismatch' });
});

test('a header that asks for gigabytes of memory is refused', async () => {
  const at = `${API}/nars/${bare(samplePath('window').narHash)}`;
  // Magic, no content size, a window of 2^31, then a raw block of three bytes.
  const window = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x19, 0, 0, 1, 2, 3]);
  assert.equal(await codeOf(await server.put(`${at}?compression=zstd`, window)), '413 codec-too-large');
  const lzma = await pack('lzma', Buffer.from('x'));
  lzma.writeUInt32LE(2 ** 31, 1);
  assert.equal(await codeOf(await server.put(`${at}?compression=lzma`, lzma)), '413 codec-too-large');
  const lzip = Buffer.from([...Buffer.from('LZIP'), 1, 29, 0, 0, 0, 0]);
  assert.equal(await codeOf(await server.put(`${at}?compression=lzip`, lzip)), '413 codec-too-large');
  const encoded = await server.put(`/main/log/${samplePath('x').storePath}.drv`, window, {
    'content-encoding': 'zstd',
  });
  assert.equal(await codeOf(encoded), '413 codec-too-large');
});

test('small bodies that unpack to large ones are refused on every route that takes them', async () => {
  const plain = Buffer.alloc(4 * MIB, ' ');
  const bombs: [encoding: string, bytes: Buffer][] = [
    ['gzip', gzipSync(plain)],
    ['br', brotliCompressSync(plain)],
    ['zstd', await pack('zstd', plain)],
    ['xz', await pack('xz', plain)],
  ];
  const { hashPart, storePath } = samplePath('encoded');
  const routes: [method: string, path: string][] = [
    ['PUT', `/main/${hashPart}.narinfo`],
    ['PUT', `/main/${hashPart}.ls`],
    ['PUT', `/main/log/${storePath}.drv`],
    ['PUT', `/main/realisations/sha256:${'0'.repeat(64)}!out.doi`],
    ['PUT', `/main/debuginfo/${'a'.repeat(40)}`],
    ['PUT', '/main/nix-cache-info'],
    ['POST', `${API}/missing`],
    ['POST', `${API}/commit`],
    ['POST', '/login'],
  ];
  for (const [method, path] of routes)
    for (const [encoding, body] of bombs) {
      const headers = { 'content-encoding': encoding };
      const answer = await server.fetch(path, { method, body: new Uint8Array(body), headers });
      await answer.arrayBuffer();
      assert.equal(answer.status, 413, `${method} ${path} ${encoding}`);
    }
});

test('NARs that are deep, or whose names and links are long, are refused', async () => {
  const at = `${API}/nars/${bare(samplePath('deep').narHash)}`;
  const strings = (...texts: readonly (string | Buffer)[]) =>
    Buffer.concat(texts.map((text) => packString(text)));
  const node = strings('(', 'type', 'directory', 'entry', '(', 'name', 'a', 'node');
  const huge = Buffer.alloc(8);
  huge.writeBigUInt64LE(2n ** 50n);
  const cases: Record<string, Buffer> = {
    deep: Buffer.concat([strings('nix-archive-1'), ...Array.from({ length: 1100 }, () => node)]),
    'a long name': strings(
      'nix-archive-1',
      '(',
      'type',
      'directory',
      'entry',
      '(',
      'name',
      'a'.repeat(100_000),
    ),
    'a long link': strings('nix-archive-1', '(', 'type', 'symlink', 'target', 'a'.repeat(100_000)),
    'a name of a petabyte': Buffer.concat([
      strings('nix-archive-1', '(', 'type', 'directory', 'entry', '(', 'name'),
      huge,
    ]),
    'a file of a petabyte': Buffer.concat([
      strings('nix-archive-1', '(', 'type', 'regular', 'contents'),
      huge,
    ]),
  };
  for (const [what, bytes] of Object.entries(cases))
    assert.match(await codeOf(await server.put(at, bytes)), /^422 nar-malformed$|^413 /, what);
});

test('an upstream that sends more than it declared is given up there', async () => {
  const key = SecretKey.generate('upstream-1');
  const { nar: _, ...rest } = samplePath('upstream-bomb');
  const path: SamplePath = { ...rest, nar: Buffer.alloc(1000) };
  const info = { storePath: path.storePath, narHash: path.narHash, narSize: 1000, references: [] };
  const narInfo = narInfoOf(path, {
    URL: 'nar/x.nar.zst',
    Compression: 'zstd',
    Sig: key.sign(formatFingerprint(info, defaultStoreDir)),
  });
  const opening = await pack('zstd', packFile(Buffer.alloc(4 * MIB)).subarray(0, 4096));
  const frame = await pack('zstd', Buffer.alloc(4 * MIB));
  let isOpen = true;
  const upstream = createServer((incoming, outgoing) => {
    if (incoming.url?.endsWith('.narinfo')) return void outgoing.end(narInfo);
    outgoing.on('close', () => {
      isOpen = false;
    });
    outgoing.write(opening);
    const write = (): void => {
      while (isOpen && outgoing.write(frame));
      if (isOpen) outgoing.once('drain', () => setImmediate(write));
    };
    write();
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  try {
    await wide.post('/api/v1/caches', { name: 'behind', public: true });
    const body = JSON.stringify({ upstreams: [{ url, publicKeys: [key.publicKey().format()] }] });
    assert.equal((await wide.fetch('/api/v1/caches/behind', { method: 'PATCH', body })).status, 200);
    assert.equal((await fetch(`${wide.url}/behind/${path.hashPart}.narinfo`)).status, 200);
    const read = async () =>
      (await fetch(`${wide.url}/behind/nar/${bare(path.narHash)}.nar.zst`)).arrayBuffer();
    await assert.rejects(read().then((bytes) => assert.equal(bytes.byteLength, 0)));
    assert.equal(isOpen, false, 'it is read no further');
  } finally {
    upstream.closeAllConnections();
    upstream.close();
  }
});
