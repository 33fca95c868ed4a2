import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateToken } from '@larder/cache-server/auth/token';
import { examplePath } from '@larder/cache-server/http/path-parameters';
import { TestServer } from '../running.js';
import { bare, commitOf, samplePath } from '../sample-path.js';
import { RawClient } from './raw-request.js';
import { isCacheRoute, routeTable } from './route-table.js';

/** Of one length, so that no number gives it away. */
const [SECRET, ABSENT] = ['secret', 'absent'] as const;

/** A session of someone who is known, but not there. */
async function logIn(client: RawClient, token: string): Promise<string> {
  const answer = await client.send('/login', {
    method: 'POST',
    headers: { 'sec-fetch-site': 'same-origin' },
    body: new URLSearchParams({ token }).toString(),
  });
  return (answer.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? '';
}

test('over every route a private cache answers strangers as one that does not exist, to the last byte', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: SECRET, public: false });
  const sample = samplePath('sample');
  await server.put(`/api/v1/caches/${SECRET}/nars/${bare(sample.narHash)}`, sample.nar);
  const committed = await server.post(`/api/v1/caches/${SECRET}/commit`, { paths: [commitOf(sample)] });
  assert.equal(committed.status, 200);
  const elsewhere = generateToken();
  await server.addToken(elsewhere, { name: 'other', caches: ['other-*'], scopes: ['admin'] });
  using client = new RawClient(server.url);
  const cookie = await logIn(client, elsewhere);
  assert.match(cookie, /^larder-session=/);
  const strangers: Record<string, string>[] = [
    {},
    { authorization: `Bearer ${generateToken()}` },
    { authorization: `Bearer ${elsewhere}` },
    { authorization: 'Nonsense' },
    { cookie },
    { cookie: 'larder-session=1.99999999999.x.y' },
  ];
  const values = {
    hash: sample.hashPart,
    narHash: bare(sample.narHash),
    file: `${bare(sample.narHash)}.nar.zst`,
  };
  const routes = routeTable().filter(isCacheRoute);
  assert.ok(routes.length > 30);
  for (const route of routes)
    for (const method of route.method === 'GET' ? ['GET', 'HEAD', 'OPTIONS', 'TRACE'] : [route.method])
      for (const stranger of strangers) {
        const [secret, absent] = await Promise.all(
          [SECRET, ABSENT].map(async (cache) => {
            const headers = { ...stranger, 'x-request-id': 'the-same' };
            const path = examplePath(route.path, { ...values, cache });
            const { status, headers: told, text } = await client.send(path, { method, headers });
            const { date: _, ...rest } = told;
            return { status, headers: JSON.stringify(rest), text: text.replaceAll(cache, 'CACHE') };
          }),
        );
        const where = `${method} ${route.path} by ${JSON.stringify(stranger)}`;
        assert.ok([401, 403, 404, 303].includes(secret?.status ?? 0), `${where}: ${secret?.status}`);
        assert.deepEqual(
          { ...secret, headers: secret?.headers.replaceAll(SECRET, 'CACHE') },
          {
            ...absent,
            headers: absent?.headers.replaceAll(ABSENT, 'CACHE'),
          },
          where,
        );
      }
});

test('a stranger costs a private cache no more work than one that does not exist', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: SECRET, public: false });
  const { caches } = server.running.services;
  const loaded: string[] = [];
  const find = caches.find.bind(caches);
  caches.find = (name) => {
    loaded.push(name);
    return find(name);
  };
  for (const name of [SECRET, ABSENT, 'main', SECRET])
    await (await fetch(`${server.url}/${name}/nix-cache-info`)).arrayBuffer();
  assert.deepEqual(loaded, ['main'], 'nothing of the others is read, so there is no time to measure');
});

test('what one cache has, no other tells of', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: SECRET, public: false });
  const sample = samplePath('sample');
  const hash = bare(sample.narHash);
  const first = await server.put(`/api/v1/caches/${SECRET}/nars/${hash}`, sample.nar);
  assert.equal(first.status, 201);
  await server.post(`/api/v1/caches/${SECRET}/commit`, { paths: [commitOf(sample)] });

  const post = async (what: string, body: unknown) =>
    Buffer.from(await (await server.post(`/api/v1/caches/main/${what}`, body)).arrayBuffer()).toString(
      'latin1',
    );
  assert.deepEqual(JSON.parse(await post('missing', { paths: [sample.storePath] })), {
    missing: [sample.storePath],
  });
  for (const what of ['closure', 'narinfos'])
    assert.doesNotMatch(await post(what, { hashParts: [sample.hashPart], have: '' }), /StorePath/, what);
  assert.equal(await post('archives', { archives: [{ narHash: hash }] }), '\0\0\0\0\0');
  assert.doesNotMatch(await post('deltas', { wanted: [{ narHash: hash, bases: [hash] }] }), /size/);
  const commit = await server.post('/api/v1/caches/main/commit', { paths: [commitOf(sample)] });
  assert.equal(commit.status, 422, 'its NAR is not here');
  assert.equal((await server.fetch(`/api/v1/caches/main/nars/${hash}`)).status, 404);
  // Known elsewhere, it is taken as new.
  assert.equal((await server.put(`/api/v1/caches/main/nars/${hash}`, sample.nar)).status, 201);

  const other = generateToken();
  await server.addToken(other, { name: 'other', caches: ['other-*'], scopes: ['admin'] });
  const headers = { authorization: `Bearer ${other}` };
  for (const at of ['/api/v1/caches', '/', '/docs', '/api/v1/openapi.json', '/login'])
    assert.doesNotMatch(await (await fetch(`${server.url}${at}`, { headers })).text(), /secret/, at);
  for (const at of ['/metrics', '/api/v1/audit', '/api/v1/tokens', '/admin/tokens'])
    assert.equal((await fetch(`${server.url}${at}`, { headers })).status, 403, at);
});
