import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { compress } from '@larder/signing/codec';
import { collect, cut } from '@larder/signing/codec-sample';
import { formatFingerprint } from '@larder/signing/fingerprint';
import { SecretKey } from '@larder/signing/key';
import { parseNarInfo } from '@larder/signing/narinfo';
import { defaultStoreDir } from '../store-dir.js';
import { errorOf, TestServer } from './running.js';
import {
  bare,
  commitOf,
  narInfoOf,
  packFile,
  packString,
  type SamplePath,
  samplePath,
  textPath,
} from './sample-path.js';

const API = '/api/v1/caches/main';

async function upload(server: TestServer, ...paths: readonly SamplePath[]): Promise<void> {
  for (const { nar, narHash } of paths) {
    const answer = await server.put(
      `${API}/nars/${bare(narHash)}?compression=none&narSize=${nar.length}`,
      nar,
    );
    assert.equal(answer.status, 201, await answer.text());
  }
}

async function commit(server: TestServer, ...paths: readonly SamplePath[]): Promise<Response> {
  return server.post(`${API}/commit`, { paths: paths.map(commitOf) });
}

async function isServed(server: TestServer, path: SamplePath): Promise<boolean> {
  return (await server.fetch(`/main/${path.hashPart}.narinfo`, { method: 'HEAD' })).status === 200;
}

async function isStored(server: TestServer, path: SamplePath): Promise<boolean> {
  const url = `/main/nar/${bare(path.narHash)}.nar.zst`;
  return (await server.fetch(url, { method: 'HEAD' })).status === 200;
}

test('a batch: what is missing, the NARs, one commit in any order', async () => {
  await using server = await TestServer.start();
  const base = samplePath('base');
  const middle = samplePath('middle', [base]);
  const top = samplePath('top', [base, middle]);
  const paths = [top, base, middle];
  const missing = { paths: paths.map((path) => path.storePath) };
  assert.deepEqual(await (await server.post(`${API}/missing`, missing)).json(), { missing: missing.paths });
  await upload(server, ...paths);
  assert.equal(await isServed(server, base), false);
  const answer = await commit(server, ...paths);
  assert.deepEqual(await answer.json(), {
    committed: 3,
    paths: paths.map(({ storePath }) => ({ storePath, status: 'added' })),
  });
  assert.deepEqual(await (await server.post(`${API}/missing`, missing)).json(), { missing: [] });
  for (const path of paths) assert.equal(await isServed(server, path), true);
});

test('a commit whose references are missing is refused whole, with the list', async () => {
  await using server = await TestServer.start();
  const absent = samplePath('absent');
  const base = samplePath('base');
  const middle = samplePath('middle', [absent, base]);
  await upload(server, base, middle);
  const answer = await errorOf(await commit(server, base, middle));
  assert.deepEqual([answer.status, answer.code], [409, 'references-missing']);
  assert.deepEqual(answer.missing, [{ path: middle.storePath, references: [absent.storePath] }]);
  assert.equal(await isServed(server, base), false);
});

test('a commit is refused whole for NARs that are not there, wrong sizes and forged references', async () => {
  await using server = await TestServer.start();
  const base = samplePath('base');
  const other = samplePath('other');
  const top = samplePath('top', [base]);
  await upload(server, base, top);
  const cases: [paths: unknown[], status: number, code: string][] = [
    [[commitOf(base), commitOf(other)], 422, 'nar-missing'],
    [[commitOf(base), { ...commitOf(top), narSize: 1 }], 422, 'nar-size-mismatch'],
    [[{ ...commitOf(base), references: [top.storePath] }, commitOf(top)], 422, 'references-cyclic'],
    [[{ ...commitOf(base), references: [base.storePath] }], 422, 'references-forged'],
    [
      [commitOf(base), { ...commitOf(top), ca: 'text:sha256:' + bare(base.narHash) }],
      422,
      'content-address-mismatch',
    ],
    [[{ ...commitOf(base), signatures: ['main-1:AAAA'] }], 400, 'signature-malformed'],
    [[{ ...commitOf(base), storePath: '../../etc/passwd' }], 400, 'store-path-malformed'],
    [[{ ...commitOf(base), deriver: 'x\ny' }], 400, 'store-path-malformed'],
    [[{ ...commitOf(base), system: 'a\nSig: b' }], 400, 'request-malformed'],
    [[{ ...commitOf(base), narHash: 'sha1:' + 'a'.repeat(32) }], 400, 'hash-malformed'],
    [[{ ...commitOf(base), references: 'x' }], 400, 'upload-malformed'],
  ];
  for (const [paths, status, code] of cases) {
    const answer = await errorOf(await server.post(`${API}/commit`, { paths }));
    assert.deepEqual([answer.status, answer.code], [status, code], answer.message as string);
  }
  for (const path of [base, top]) assert.equal(await isServed(server, path), false);
  assert.equal((await server.fetch(`${API}/commit`, { method: 'POST', body: '{' })).status, 400);
});

test('uploads that are not what they say leave nothing', async (t) => {
  await using server = await TestServer.start({ toml: '[limits]\nnar = "1 MiB"\nnarinfo = "2 KiB"\n' });
  const path = samplePath('sound');
  const hash = bare(path.narHash);
  const bomb = await collect(compress(cut(packFile(Buffer.alloc(8 * 2 ** 20)), [65536]), 'zstd'));
  const climbing = Buffer.concat(
    [
      'nix-archive-1',
      '(',
      'type',
      'directory',
      'entry',
      '(',
      'name',
      '..',
      'node',
      '(',
      'type',
      'symlink',
      'target',
      'x',
      ')',
      ')',
      ')',
    ].map(packString),
  );
  const cases: [what: string, at: string, body: Buffer, status: number, code: string][] = [
    ['another NarHash', `${API}/nars/${'0'.repeat(52)}`, path.nar, 422, 'nar-hash-mismatch'],
    ['another size', `${API}/nars/${hash}?narSize=7`, path.nar, 422, 'nar-size-mismatch'],
    ['cut short', `${API}/nars/${hash}`, path.nar.subarray(0, -8), 422, 'nar-malformed'],
    [
      'bytes behind it',
      `${API}/nars/${hash}`,
      Buffer.concat([path.nar, Buffer.alloc(8)]),
      422,
      'nar-malformed',
    ],
    ['no NAR', `${API}/nars/${hash}`, Buffer.from('hello'), 422, 'nar-malformed'],
    ['nothing', `${API}/nars/${hash}`, Buffer.alloc(0), 422, 'nar-malformed'],
    ['names that climb', `${API}/nars/${hash}`, climbing, 422, 'nar-malformed'],
    [
      'not what it is compressed with',
      `${API}/nars/${hash}?compression=xz`,
      path.nar,
      422,
      'codec-malformed',
    ],
    ['an unknown compression', `${API}/nars/${hash}?compression=zip`, path.nar, 400, 'compression-unknown'],
    ['too large', `${API}/nars/${hash}`, Buffer.alloc(2 * 2 ** 20), 413, 'body-too-large'],
    ['a bomb', `${API}/nars/${hash}?compression=zstd`, bomb, 413, 'codec-too-large'],
    ['another file hash', `/main/nar/${'1'.repeat(52)}.nar`, path.nar, 422, 'nar-file-mismatch'],
    ['a name of its own', '/main/nar/..nar', path.nar, 400, 'request-malformed'],
    ['no hash', `${API}/nars/zzz`, path.nar, 400, 'hash-malformed'],
  ];
  for (const [what, at, body, status, code] of cases)
    await t.test(what, async () => {
      const answer = await errorOf(await server.put(at, body));
      assert.deepEqual([answer.status, answer.code], [status, code], answer.message as string);
      assert.equal(await isStored(server, path), false);
    });

  await t.test('narinfos', async () => {
    await upload(server, path);
    const at = `/main/${path.hashPart}.narinfo`;
    const narinfos: [text: string, status: number, code: string][] = [
      ['', 400, 'narinfo-malformed'],
      ['<html>', 400, 'narinfo-malformed'],
      [narInfoOf(path, { NarSize: '1' }), 422, 'nar-size-mismatch'],
      [narInfoOf(path, { StorePath: `/nix/store/${samplePath('x').storePath}` }), 422, 'narinfo-mismatch'],
      [narInfoOf(path, { StorePath: `/gnu/store/${path.storePath}` }), 400, 'narinfo-malformed'],
      [narInfoOf(path, { URL: 'https://elsewhere/x.nar' }), 422, 'narinfo-mismatch'],
      [narInfoOf(path, { URL: '../other/nar/x.nar' }), 422, 'narinfo-mismatch'],
      [narInfoOf(path, { Sig: 'nonsense' }), 400, 'narinfo-malformed'],
      [narInfoOf(path, { References: path.storePath }), 422, 'references-forged'],
      [narInfoOf(path) + 'X: y\n'.repeat(1000), 413, 'body-too-large'],
    ];
    for (const [text, status, code] of narinfos) {
      const answer = await errorOf(await server.put(at, text));
      assert.deepEqual([answer.status, answer.code], [status, code], answer.message as string);
      assert.equal(await isServed(server, path), false);
    }
  });
});

test('stock uploads in any order: a path shows when all it needs is there', async (t) => {
  const base = samplePath('base');
  const middle = samplePath('middle', [base]);
  const top = samplePath('top', [base, middle]);
  const putNar = (server: TestServer, path: SamplePath) =>
    server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  const putNarInfo = (server: TestServer, path: SamplePath) =>
    server.put(`/main/${path.hashPart}.narinfo`, narInfoOf(path));
  const steps = [base, middle, top].flatMap((path) => [
    { path, put: putNar, what: `NAR of ${path.storePath}` },
    { path, put: putNarInfo, what: `narinfo of ${path.storePath}` },
  ]);
  const orders = [
    [...steps].reverse(),
    [5, 3, 1, 4, 2, 0],
    [1, 3, 5, 0, 2, 4],
    [4, 5, 2, 3, 0, 1],
    [0, 5, 1, 2, 4, 3],
  ].map((order) => order.map((step) => (typeof step === 'number' ? steps[step] : step)));
  for (const order of orders)
    await t.test(order.map((step) => step?.what.replace(/ of .*-/, ' ')).join(', '), async () => {
      await using server = await TestServer.start();
      const done = new Set<unknown>();
      for (const step of order) {
        if (step === undefined) continue;
        const answer = await step.put(server, step.path);
        assert.equal(answer.status, 204, await answer.text());
        done.add(step);
        const has = (path: SamplePath) =>
          steps.filter((each) => each.path === path).every((each) => done.has(each));
        const expected = [has(base), has(base) && has(middle), has(base) && has(middle) && has(top)];
        const served = await Promise.all([base, middle, top].map((path) => isServed(server, path)));
        assert.deepEqual(served, expected, `after the ${step.what}`);
      }
    });
});

test('two narinfos of each other in parallel: neither waits for ever', async () => {
  await using server = await TestServer.start();
  const base = samplePath('base');
  const tops = Array.from({ length: 20 }, (_, index) => samplePath(`top-${index}`, [base]));
  await upload(server, base, ...tops);
  const answers = await Promise.all(
    [...tops.slice(0, 10), base, ...tops.slice(10)].map((path) =>
      server.put(`/main/${path.hashPart}.narinfo`, narInfoOf(path)),
    ),
  );
  for (const answer of answers) assert.equal(answer.status, 204);
  for (const path of [base, ...tops]) assert.equal(await isServed(server, path), true);
});

test('signatures: those that came are kept, false ones in our name are not, later ones are added', async () => {
  await using server = await TestServer.start();
  const path = samplePath('signed');
  await upload(server, path);
  const fingerprint = formatFingerprint(
    { storePath: path.storePath, narHash: path.narHash, narSize: path.nar.length, references: [] },
    defaultStoreDir,
  );
  const [builder, second] = [SecretKey.generate('builder-1'), SecretKey.generate('builder-2')];
  const forged = SecretKey.generate('main-1').sign(fingerprint);
  const read = async () =>
    parseNarInfo(await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text(), defaultStoreDir)
      .signatures;
  const sign = (key: SecretKey) => key.sign(fingerprint);

  const first = { ...commitOf(path), signatures: [sign(builder), forged] };
  await server.post(`${API}/commit`, { paths: [first] });
  const signatures = await read();
  assert.deepEqual(
    signatures.map((text) => text.split(':')[0]),
    ['builder-1', 'main-1'],
  );
  assert.ok(!signatures.includes(forged));

  const again = { ...commitOf(path), signatures: [sign(second), sign(builder)] };
  const answer = await server.post(`${API}/commit`, { paths: [again] });
  assert.deepEqual(((await answer.json()) as { committed: number }).committed, 0);
  assert.deepEqual(await read(), [...signatures, sign(second)]);
});

test('a path keeps what it names, whatever else comes under its name', async () => {
  await using server = await TestServer.start();
  const path = samplePath('kept');
  const other = { ...samplePath('kept', [], 'other contents'), storePath: path.storePath };
  assert.notEqual(bare(path.narHash), bare(other.narHash));
  await upload(server, path, other);
  await commit(server, path);
  const answer = (await (await commit(server, other)).json()) as { paths: { status: string }[] };
  assert.equal(answer.paths[0]?.status, 'kept');
  const text = await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text();
  assert.ok(text.includes(bare(path.narHash)));
});

test('content-addressed paths prove themselves', async () => {
  await using server = await TestServer.start();
  const good = textPath('good', 'hello');
  const liar = { ...textPath('liar', 'what it says'), ...{ nar: textPath('liar', 'what it is').nar } };
  const lying = { ...liar, narHash: textPath('liar', 'what it is').narHash };
  await upload(server, good, lying);
  assert.equal((await commit(server, good)).status, 200);
  assert.equal((await errorOf(await commit(server, lying))).code, 'content-address-mismatch');
});

test('a log comes back as it was, also when it came compressed', async () => {
  await using server = await TestServer.start();
  const name = `${samplePath('x').storePath}.drv`;
  assert.equal((await server.put(`/main/log/${name}`, 'building\n')).status, 204);
  const log = await server.fetch(`/main/log/${name}`);
  assert.equal(log.headers.get('content-type'), 'text/plain; charset=utf-8');
  assert.equal(await log.text(), 'building\n');
  const encoded = await server.put(`/main/log/${name}`, gzipSync('again\n'), { 'content-encoding': 'gzip' });
  assert.equal(encoded.status, 204);
  assert.equal(await (await server.fetch(`/main/log/${name}`)).text(), 'again\n');
  assert.equal((await server.put(`${API}/logs/${name}`, 'own\n')).status, 204);
  assert.equal(await (await server.fetch(`/main/log/${name}`)).text(), 'own\n');
  assert.equal((await server.put('/main/log/not-a-path.drv', 'x')).status, 400);
  assert.equal((await server.put(`/main/log/${samplePath('x').storePath}`, 'x')).status, 400);
  const odd = await server.put(`/main/log/${name}`, 'x', { 'content-encoding': 'rot13' });
  assert.equal((await errorOf(odd)).code, 'request-malformed');
});

test('realisations of both generations: the first stays, signatures are added', async () => {
  await using server = await TestServer.start();
  const [one, two] = [samplePath('one'), samplePath('two')];
  const key = SecretKey.generate('builder-1');
  const [signature, another] = [key.sign('x'), SecretKey.generate('builder-2').sign('y')];
  const id = `sha256:${'ab'.repeat(32)}!out`;
  const older = (path: SamplePath, signatures: string[]) =>
    JSON.stringify({ id, outPath: path.storePath, signatures, dependentRealisations: {} });
  const at = `/main/realisations/${encodeURIComponent(id)}.doi`;
  for (const body of [older(one, [signature]), older(two, []), older(one, [another])])
    assert.equal((await server.put(at, body)).status, 204);
  const kept = (await (await server.fetch(at)).json()) as Record<string, unknown>;
  assert.equal(kept.outPath, one.storePath);
  assert.deepEqual(kept.signatures, [signature, another].sort());
  assert.equal((await server.put('/main/realisations/sha256:00!out.doi', older(one, []))).status, 400);

  const newer = `/main/build-trace-v2/${one.storePath}.drv/out.doi`;
  assert.equal(
    (await server.put(newer, JSON.stringify({ outPath: one.storePath, signatures: [] }))).status,
    204,
  );
  assert.equal(((await (await server.fetch(newer)).json()) as { outPath: string }).outPath, one.storePath);
  assert.equal((await server.put(newer, '{}')).status, 400);
});

test('debug information names the NAR as it is kept, whichever comes first', async () => {
  await using server = await TestServer.start();
  const path = samplePath('debug');
  const file = `${bare(path.narHash)}.nar`;
  const link = JSON.stringify({ archive: `../nar/${file}`, member: 'lib/debug/x.debug' });
  const [before, later] = [`/main/debuginfo/${'a'.repeat(40)}`, `/main/debuginfo/${'b'.repeat(40)}.debug`];
  assert.equal((await server.put(before, link)).status, 204);
  assert.equal((await server.fetch(before)).status, 404);
  await server.put(`/main/nar/${file}`, path.nar);
  assert.equal((await server.put(later, link)).status, 204);
  for (const at of [before, later])
    assert.deepEqual(await (await server.fetch(at)).json(), {
      archive: `../nar/${bare(path.narHash)}.nar.zst`,
      member: 'lib/debug/x.debug',
    });
  assert.equal((await server.put(later, '{"archive":"../../x","member":"y"}')).status, 400);
});

test('listings are made from the NAR, whatever a client says', async () => {
  await using server = await TestServer.start();
  const path = samplePath('listed');
  const at = `/main/${path.hashPart}.ls`;
  const lie = '{"version":1,"root":{"type":"symlink","target":"/etc/passwd"}}';
  assert.equal((await server.put(at, lie)).status, 204);
  assert.equal((await errorOf(await server.put(at, 'nonsense'))).code, 'listing-malformed');
  assert.equal((await server.fetch(at)).status, 404);
  await upload(server, path);
  await commit(server, path);
  const listing = (await (await server.fetch(at)).json()) as { root: { type: string } };
  assert.equal(listing.root.type, 'regular');
});

test('a NAR that is there is not stored again, and both clients are told it is', async () => {
  await using server = await TestServer.start();
  const path = samplePath('twice');
  const at = `${API}/nars/${bare(path.narHash)}`;
  assert.equal((await server.fetch(at, { method: 'HEAD' })).status, 404);
  await upload(server, path);
  assert.equal((await server.fetch(at, { method: 'HEAD' })).status, 200);
  const again = await server.put(`${at}?compression=none`, path.nar);
  assert.equal(again.status, 200);
  assert.equal(((await again.json()) as { narSize: number }).narSize, path.nar.length);
  const parallel = samplePath('parallel', [], 'x'.repeat(100_000));
  const uploads = await Promise.all(
    [1, 2, 3, 4].map(() => server.put(`/main/nar/${bare(parallel.narHash)}.nar`, parallel.nar)),
  );
  for (const answer of uploads) assert.equal(answer.status, 204);
});

test('a NAR full of hashes is read again for its references', async () => {
  await using server = await TestServer.start();
  const base = samplePath('base');
  let hashes = '';
  for (let index = 0; index < 5000; index++) hashes += `${samplePath(`noise-${index}`).hashPart}\n`;
  const full = samplePath('full', [base], hashes);
  await upload(server, base, full);
  const forged = { ...commitOf(full), references: [base.storePath, full.storePath] };
  const answer = await errorOf(await server.post(`${API}/commit`, { paths: [commitOf(base), forged] }));
  assert.equal(answer.code, 'references-forged');
  assert.equal((await commit(server, base, full)).status, 200);
});
