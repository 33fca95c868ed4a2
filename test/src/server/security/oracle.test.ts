import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { formatContentAddress, makeContentAddressedPath } from '@larder/signing/content-address';
import { formatFingerprint } from '@larder/signing/fingerprint';
import { computeHash } from '@larder/signing/hash';
import { PublicKey, SecretKey } from '@larder/signing/key';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { parseSignature } from '@larder/signing/signature';
import type { CommitPath } from '@larder/signing/upload';
import { defaultStoreDir } from '../../store-dir.js';
import { errorOf, TestServer } from '../running.js';
import {
  bare,
  commitOf,
  narInfoOf,
  packFile,
  type SamplePath,
  samplePath,
  textPath,
} from '../sample-path.js';

/**
 * Whoever may push makes the server sign: these are the ways to get a signature under what was not verified. One server for
 * all; every case has paths of its own.
 */
let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server[Symbol.asyncDispose]());

const API = '/api/v1/caches/main';

async function upload(...paths: readonly SamplePath[]): Promise<void> {
  for (const path of paths)
    assert.ok((await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar)).ok, path.storePath);
}

async function refuses(path: object, code: string | readonly string[], what: string): Promise<void> {
  const answer = await errorOf(await server.post(`${API}/commit`, { paths: [path] }));
  assert.ok([code].flat().includes(answer.code), `${what}: ${answer.code} ${String(answer.message)}`);
  assert.ok(answer.status >= 400 && answer.status < 500, `${what}: ${answer.status}`);
}

async function isServed(path: SamplePath): Promise<boolean> {
  const answer = await server.fetch(`/main/${path.hashPart}.narinfo`);
  await answer.arrayBuffer();
  return answer.status === 200;
}

/** Whether one of the signatures that a served narinfo carries is the cache's own. */
async function isSigned(
  info: NarInfo,
  fingerprint = formatFingerprint(info, defaultStoreDir),
): Promise<boolean> {
  const { publicKeys } = (await (await server.fetch(API)).json()) as { publicKeys: string[] };
  const key = PublicKey.parse(publicKeys[0] ?? '');
  return info.signatures.map(parseSignature).some((each) => key.verify(fingerprint, each));
}

test('a narinfo cannot borrow the NAR of another path by lying about it', async () => {
  const [own, other] = [samplePath('borrow-own'), samplePath('borrow-other', [], 'something else')];
  await upload(own, other);
  const lies: [what: string, fields: Record<string, string>, code: string][] = [
    ['the hash of another NAR', { NarHash: other.narHash.toString() }, 'nar-hash-mismatch'],
    ['another size', { NarSize: `${own.nar.length + 8}` }, 'nar-size-mismatch'],
    ["another's path", { StorePath: `/nix/store/${other.storePath}` }, 'narinfo-mismatch'],
    ['another store', { StorePath: `/elsewhere/${own.storePath}` }, 'narinfo-malformed'],
    ['a path below a path', { StorePath: `/nix/store/${own.storePath}/bin` }, 'narinfo-malformed'],
    ['a file elsewhere', { URL: 'https://elsewhere.example/x.nar' }, 'narinfo-mismatch'],
    ['a file of another cache', { URL: `../secret/nar/${bare(own.narHash)}.nar` }, 'narinfo-mismatch'],
    ['a file by query', { URL: `nar/${bare(own.narHash)}.nar?x` }, 'narinfo-mismatch'],
  ];
  for (const [what, fields, code] of lies) {
    const answer = await errorOf(await server.put(`/main/${own.hashPart}.narinfo`, narInfoOf(own, fields)));
    assert.equal(answer.code, code, what);
  }
  assert.equal(await isServed(own), false);
});

test('what was checked is what is signed, whatever comes under its name in between', async () => {
  const [first, second] = [samplePath('swap', [], 'first'), samplePath('swap', [], 'second')];
  // A name that is no hash may be written again.
  assert.ok((await server.put('/main/nar/swapped.nar', first.nar)).ok);
  assert.ok((await server.put('/main/nar/swapped.nar', second.nar)).ok);
  const at = `/main/${first.hashPart}.narinfo`;
  const stale = await server.put(at, narInfoOf(first, { URL: 'nar/swapped.nar' }));
  assert.equal((await errorOf(stale)).code, 'nar-hash-mismatch');
  assert.ok((await server.put(at, narInfoOf(second, { URL: 'nar/swapped.nar' }))).ok);
  // And once more under what is published now.
  assert.ok((await server.put('/main/nar/swapped.nar', first.nar)).ok);
  const text = await (await server.fetch(at)).text();
  const info = parseNarInfo(text, defaultStoreDir);
  assert.equal(info.url, `nar/${bare(second.narHash)}.nar.zst`, 'it names the NAR by what it is');
  assert.ok(await isSigned(info));
  assert.ok(info.narHash.equals(second.narHash));
});

test('references: those a NAR lacks, those nobody has, those of another name', async () => {
  const [base, stranger] = [samplePath('ref-base'), samplePath('ref-stranger')];
  const plain = samplePath('ref-plain');
  const dangling = samplePath('ref-dangling', [stranger]);
  const top = samplePath('ref-top', [base]);
  await upload(base, plain, dangling, top);
  await refuses(
    { ...commitOf(plain), references: [base.storePath] },
    ['references-forged', 'references-missing'],
    'lacks it',
  );
  await server.post(`${API}/commit`, { paths: [commitOf(base)] });
  await refuses({ ...commitOf(plain), references: [base.storePath] }, 'references-forged', 'lacks it');
  await refuses({ ...commitOf(plain), references: [plain.storePath] }, 'references-forged', 'not its own');
  await refuses(commitOf(dangling), 'references-missing', 'dangling');
  const [, ...name] = base.storePath.split('-');
  const renamed = `${base.hashPart}-not-${name.join('-')}`;
  await refuses(
    { ...commitOf(top), references: [renamed] },
    'references-missing',
    'another name with that hash',
  );
  for (const path of [plain, dangling, top]) assert.equal(await isServed(path), false);
});

test('a content address is proven or refused', async () => {
  const text = textPath('ca-text', 'what it says');
  const plain = samplePath('ca-plain');
  const hash = computeHash('sha256', 'what it says');
  const nar = packFile('fixed');
  const narHash = computeHash('sha256', nar);
  const fixed = makeContentAddressedPath(defaultStoreDir, 'ca-fixed', { method: 'recursive', hash: narHash });
  await upload(text, plain, { ...plain, nar, narHash });
  const honest: CommitPath = {
    storePath: fixed,
    narHash: narHash.toString(),
    narSize: nar.length,
    references: [],
    ca: formatContentAddress({ method: 'recursive', hash: narHash }),
  };
  const lies: [what: string, path: object, code: string][] = [
    ['of other contents', { ...commitOf(plain), ca: commitOf(text).ca }, 'content-address-mismatch'],
    ['for another path', { ...honest, storePath: plain.storePath }, 'content-address-mismatch'],
    [
      'of another NAR',
      { ...honest, ...{ narHash: plain.narHash.toString(), narSize: plain.nar.length } },
      'content-address-mismatch',
    ],
    [
      'by another method',
      { ...honest, ca: formatContentAddress({ method: 'flat', hash: narHash }) },
      'content-address-mismatch',
    ],
    [
      'with references it has not',
      { ...commitOf(text), references: [text.storePath] },
      'content-address-mismatch',
    ],
    [
      'in git',
      { ...commitOf(text), ca: `fixed:git:${computeHash('sha1', 'x').toString()}` },
      'content-address-mismatch',
    ],
    ['nonsense', { ...commitOf(text), ca: 'fixed:r:sha256:zzz' }, 'content-address-malformed'],
    [
      'with a line of its own',
      { ...commitOf(text), ca: `text:${hash.toString()}\nSig: a:b` },
      'content-address-malformed',
    ],
  ];
  for (const [what, path, code] of lies)
    await refuses(path, [code, 'content-address-malformed', 'hash-malformed'], what);
  assert.equal(await isServed(text), false);
  const good = await server.post(`${API}/commit`, { paths: [honest, commitOf(text)] });
  assert.equal(good.status, 200, await good.text());
});

test('no field smuggles another into what is signed or served', async () => {
  const path = samplePath('smuggle');
  await upload(path);
  const sound = commitOf(path);
  const evil: [field: string, value: unknown][] = [
    ['storePath', `${path.storePath}\nSig: x:y`],
    ['storePath', `${path.storePath};sha256:x;1;`],
    ['storePath', `${path.storePath},/nix/store/x`],
    ['storePath', `${path.storePath}\0`],
    ['narHash', `${path.narHash.toString()};1;`],
    ['narHash', `${path.narHash.toString()}\nURL: x`],
    ['narSize', `${path.nar.length}`],
    ['narSize', -1],
    ['narSize', 1e308],
    ['narSize', path.nar.length + 0.5],
    ['references', [`${path.storePath}\nURL: https://elsewhere.example`]],
    ['references', [`${path.storePath},${path.storePath}`]],
    ['references', [`../${path.storePath}`]],
    ['deriver', `${path.storePath}.drv\nURL: https://elsewhere.example`],
    ['deriver', `${path.storePath}.drv\r`],
    ['system', 'x86_64-linux\nSig: a:b'],
    ['system', 'x86_64-linux\r'],
    ['signatures', ['a:b\nURL: https://elsewhere.example']],
    ['signatures', ['a\nb:AAAA']],
    ['signatures', [`a\r:${'A'.repeat(86)}==`]],
    ['signatures', [`a b:${'A'.repeat(86)}==\n`]],
    ['signatures', Array.from({ length: 1000 }, (_, index) => `k-${index}:${'A'.repeat(86)}==`)],
  ];
  for (const [field, value] of evil) {
    const answer = await server.post(`${API}/commit`, { paths: [{ ...sound, [field]: value }] });
    const text = await answer.text();
    assert.ok(
      answer.status >= 400 && answer.status < 500,
      `${field} ${JSON.stringify(value).slice(0, 80)}: ${answer.status} ${text}`,
    );
    assert.equal(await isServed(path), false, `${field} ${JSON.stringify(value).slice(0, 80)}`);
  }
  const drv = `${path.storePath}.drv`;
  const lines = [
    `Deriver: ${drv}\r`,
    'System: a\rb',
    `Sig: k\r:${'A'.repeat(86)}==`,
    'CA: text:sha256:x',
    'References: ..',
  ];
  const text = narInfoOf(path).replace(/^References.*\n/m, '');
  for (const line of lines) {
    const answer = await server.put(`/main/${path.hashPart}.narinfo`, `${text}${line}\n`);
    assert.equal(answer.status, 400, `${JSON.stringify(line)} ${await answer.text()}`);
  }
  // It was these fields that were refused.
  const [narInfo, commit] = [
    await server.put(`/main/${path.hashPart}.narinfo`, `${text}References: \n`),
    await server.post(`${API}/commit`, { paths: [sound] }),
  ];
  assert.ok(narInfo.ok && commit.ok, `${await narInfo.text()} ${await commit.text()}`);
});

test("a lie about the deriver is served as the uploader's, and is not in what is signed", async () => {
  const path = samplePath('deriver');
  const liar = `${samplePath('elsewhere').storePath}.drv`;
  await upload(path);
  await server.post(`${API}/commit`, { paths: [{ ...commitOf(path), deriver: liar }] });
  const text = await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text();
  const info = parseNarInfo(text, defaultStoreDir);
  assert.equal(info.deriver, liar);
  const signed = `1;/nix/store/${path.storePath};${path.narHash.toString()};${path.nar.length};`;
  assert.ok(await isSigned(info, signed));
});

test('a key in the name of the cache, or with a line break, is none of its keys', async () => {
  const path = samplePath('names');
  await upload(path);
  const forged = SecretKey.generate('main-1').sign('1;/nix/store/x;sha256:x;1;');
  await server.post(`${API}/commit`, { paths: [{ ...commitOf(path), signatures: [forged] }] });
  // With it or without: it may be refused, and must not be served.
  await server.post(`${API}/commit`, { paths: [commitOf(path)] });
  const text = await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text();
  assert.ok(await isSigned(parseNarInfo(text, defaultStoreDir)));
  assert.ok(!text.includes(forged));
  for (const name of ['a\nb', 'a\rb', 'a:b', '../a', '..', 'a/b', 'a b', '', 'a\0', 'x'.repeat(300)]) {
    const answer = await server.post(`${API}/keys`, { name });
    assert.equal(answer.status, 400, `${JSON.stringify(name)}: ${await answer.text()}`);
  }
});
