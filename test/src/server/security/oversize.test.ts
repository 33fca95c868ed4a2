import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { errorOf, TestServer } from '../running.js';
import { bare, commitOf, narInfoOf, samplePath } from '../sample-path.js';
import { RawClient } from './raw-request.js';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server[Symbol.asyncDispose]());

const API = '/api/v1/caches/main';
const sample = samplePath('oversize');

async function codeOf(method: string, path: string, body: string): Promise<string> {
  const { status, code } = await errorOf(await server.fetch(path, { method, body }));
  return `${status} ${code}`;
}

test('addresses and headers have an end', async () => {
  using client = new RawClient(server.url);
  const long = 'a'.repeat(20_000);
  for (const path of [`/${long}`, `/main/log/${long}`, `/main/search?q=${long}`])
    assert.equal((await client.send(path)).status, 431, path.slice(0, 20));
  assert.equal((await client.send('/healthz', { headers: { 'x-long': long } })).status, 431);
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`x-${index}`, '1']));
  assert.equal((await client.send('/healthz', { headers: many })).status, 431);
  // What fits is looked up as it is, and found or not.
  for (const path of [
    `/main/log/${'a'.repeat(8000)}`,
    `/main/nar/${'a'.repeat(8000)}`,
    `/main/search?q=${'word+'.repeat(2000)}`,
    `/main/serve/${sample.hashPart}/${'a/'.repeat(4000)}`,
    `/${'a'.repeat(8000)}/nix-cache-info`,
  ]) {
    const { status } = await client.send(path);
    assert.ok(status < 500, `${path.slice(0, 30)}: ${status}`);
  }
  const ranges = `bytes=${Array.from({ length: 1000 }, (_, index) => `${index}-${index}`).join()}`;
  await server.put(`${API}/nars/${bare(sample.narHash)}`, sample.nar);
  const answer = await server.fetch(`/main/nar/${bare(sample.narHash)}.nar.zst`, {
    headers: { range: ranges },
  });
  assert.equal(answer.status, 200, 'a thousand ranges are none');
  await answer.arrayBuffer();
});

test('lists in requests have an end', async () => {
  const many = (count: number, of: unknown): string =>
    JSON.stringify(Array.from({ length: count }, () => of));
  const { hashPart, storePath } = sample;
  const narHash = bare(sample.narHash);
  const cases: [what: string, path: string, body: string][] = [
    ['paths asked for', `${API}/missing`, `{"paths":${many(100_001, storePath)}}`],
    ['paths committed', `${API}/commit`, `{"paths":${many(100_001, commitOf(sample))}}`],
    ['narinfos', `${API}/narinfos`, `{"hashParts":${many(100_001, hashPart)},"have":""}`],
    ['closures', `${API}/closure`, `{"hashParts":${many(100_001, hashPart)},"have":""}`],
    ['what is there', `${API}/closure`, `{"hashParts":[],"have":"${'0'.repeat(2_000_000)}"}`],
    ['archives', `${API}/archives`, `{"archives":${many(1001, { narHash })}}`],
    ['deltas', `${API}/deltas`, `{"wanted":${many(100_001, { narHash, bases: [] })}}`],
    ['bases', `${API}/deltas`, `{"wanted":[{"narHash":"${narHash}","bases":${many(9, narHash)}}]}`],
  ];
  for (const [what, path, body] of cases)
    assert.equal(await codeOf('POST', path, body), '400 upload-malformed', what);
});

test('JSON that would take gigabytes once it is read is not read', async () => {
  const objects = `{"paths":[${'{},'.repeat(1_000_000)}{}]}`;
  for (const path of ['missing', 'commit', 'archives', 'keys'])
    assert.equal(await codeOf('POST', `${API}/${path}`, objects), '413 body-too-large', path);
  assert.equal(await codeOf('POST', `${API}/missing`, '['.repeat(900_000)), '400 request-malformed');
  const strings = `{"paths":["${'{['.repeat(1_000_000)}"]}`;
  assert.match(await codeOf('POST', `${API}/missing`, strings), /^4/);
});

test('what names something is short', async () => {
  const long = 'n'.repeat(300);
  const posts: [path: string, body: object][] = [
    ['/api/v1/caches', { name: long }],
    ['/api/v1/tokens', { name: 'n'.repeat(10_000), caches: ['*'], scopes: ['pull'] }],
    [`${API}/keys`, { name: long }],
    [`${API}/commit`, { paths: [{ ...commitOf(sample), storePath: `${sample.hashPart}-${long}` }] }],
    [`${API}/commit`, { paths: [{ ...commitOf(sample), deriver: `${sample.hashPart}-${long}.drv` }] }],
  ];
  for (const [path, body] of posts) {
    const answer = await server.post(path, body);
    assert.equal(answer.status, 400, `${path}: ${await answer.text()}`);
  }
  const pin = await server.put(`${API}/pins/${long}`, JSON.stringify({ paths: [] }));
  assert.equal(pin.status, 400, await pin.text());
});

test('thousands of references are looked up, and told of', async () => {
  const references = Array.from({ length: 20_000 }, (_, index) => samplePath(`reference-${index}`).storePath);
  const commit = await server.post(`${API}/commit`, { paths: [{ ...commitOf(sample), references }] });
  assert.equal((await errorOf(commit)).code, 'references-missing');
  const text = narInfoOf(sample, { References: references.join(' ') });
  const narInfo = await server.put(`/main/${sample.hashPart}.narinfo`, text);
  assert.ok([400, 413, 422].includes(narInfo.status), `${narInfo.status}`);
});

test('numbers in queries have an end', async () => {
  for (const path of [
    '/api/v1/audit?limit=1000000000',
    '/api/v1/audit?limit=-1',
    '/api/v1/audit?before=1e400',
  ]) {
    const answer = await server.fetch(path);
    assert.ok(answer.status < 500, `${path}: ${answer.status}`);
    assert.ok((await answer.text()).length < 2_000_000);
  }
  const huge = `${API}/nars/${bare(sample.narHash)}?narSize=99999999999999999999`;
  assert.equal((await errorOf(await server.put(huge, sample.nar))).code, 'request-malformed');
});
