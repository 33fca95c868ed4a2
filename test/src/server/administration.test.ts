import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { CreatedToken, TokenDescription } from '@larder/cache-server/http/admin-bodies';
import type { CacheDescription } from '@larder/signing/upload';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, narInfoOf, samplePath } from './sample-path.js';

const CACHES = '/api/v1/caches';

async function makeToken(server: TestServer, body: Record<string, unknown>): Promise<CreatedToken> {
  const answer = await server.post('/api/v1/tokens', { name: 'test', ...body });
  assert.equal(answer.status, 201, await answer.clone().text());
  return (await answer.json()) as CreatedToken;
}

function as(token: CreatedToken): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${token.token}` } };
}

test('a cache is made, configured, used and deleted', async () => {
  await using server = await TestServer.start();
  const made = await server.post(CACHES, { name: 'team-a', priority: 10 });
  assert.equal(made.status, 201);
  const cache = (await made.json()) as CacheDescription;
  assert.deepEqual(
    { ...cache, publicKeys: cache.publicKeys.length },
    {
      name: 'team-a',
      public: false,
      storeDir: '/nix/store',
      priority: 10,
      publicKeys: 1,
      url: `${server.url}/team-a`,
    },
  );
  assert.equal((await errorOf(await server.post(CACHES, { name: 'team-a' }))).code, 'cache-exists');
  for (const name of ['', 'api', 'Team', '../x', 'a b', '-a', 'a'.repeat(64)])
    assert.equal((await errorOf(await server.post(CACHES, { name }))).status, 400, name);

  const path = samplePath('team-path');
  await server.put(`/team-a/nar/${bare(path.narHash)}.nar`, path.nar);
  assert.equal((await server.put(`/team-a/${path.hashPart}.narinfo`, narInfoOf(path))).status, 204);
  assert.equal((await fetch(`${server.url}/team-a/${path.hashPart}.narinfo`)).status, 401);
  const change = { method: 'PATCH', body: JSON.stringify({ public: true, priority: 5 }) };
  assert.equal((await server.fetch(`${CACHES}/team-a`, change)).status, 200);
  assert.equal((await fetch(`${server.url}/team-a/${path.hashPart}.narinfo`)).status, 200);
  assert.match(await (await fetch(`${server.url}/team-a/nix-cache-info`)).text(), /^Priority: 5$/m);
  const settings = await readFile(server.scratch.join('data/storage/team-a/larder-cache.json'), 'utf8');
  assert.equal((JSON.parse(settings) as { public: boolean }).public, true);

  const list = (await (await server.fetch(CACHES)).json()) as { caches: { name: string }[] };
  assert.deepEqual(
    list.caches.map(({ name }) => name),
    ['main', 'team-a'],
  );
  assert.equal((await server.fetch(`${CACHES}/team-a`, { method: 'DELETE' })).status, 204);
  assert.equal((await server.fetch(`/team-a/${path.hashPart}.narinfo`)).status, 404);
  const left = await readdir(server.scratch.join('data/storage/team-a'), { recursive: true });
  assert.deepEqual(
    left.filter((name) => name !== 'nar'),
    [],
  );
  assert.equal((await server.post(CACHES, { name: 'team-a' })).status, 201);
  assert.equal((await server.fetch(`/team-a/${path.hashPart}.narinfo`)).status, 404);
});

test('keys rotate: the new one signs beside the old, then alone, and both stay listed', async () => {
  await using server = await TestServer.start();
  const signers = async (name: string) => {
    const path = samplePath(name);
    await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
    await server.post(`${CACHES}/main/commit`, { paths: [commitOf(path)] });
    const text = await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text();
    return [...text.matchAll(/^Sig: ([^:]+):/gm)].map((match) => match[1]);
  };
  assert.deepEqual(await signers('one'), ['main-1']);
  const added = (await (await server.post(`${CACHES}/main/keys`, {})).json()) as CacheDescription;
  assert.deepEqual(
    added.publicKeys.map((key) => key.split(':')[0]),
    ['main-1', 'main-2'],
  );
  assert.deepEqual(await signers('two'), ['main-1', 'main-2']);
  const retire = (key: string) =>
    server.fetch(`${CACHES}/main/keys/${key}`, { method: 'PATCH', body: '{"active":false}' });
  assert.equal((await retire('main-1')).status, 200);
  assert.deepEqual(await signers('three'), ['main-2']);
  assert.equal((await errorOf(await retire('main-2'))).code, 'key-last');
  assert.equal((await errorOf(await retire('other'))).code, 'not-found');
  const again = await server.post(`${CACHES}/main/keys`, { name: 'main-1' });
  assert.equal((await errorOf(again)).code, 'key-exists');
  for (const name of ['../x', 'a:b', 'a b', '.x'])
    assert.equal((await errorOf(await server.post(`${CACHES}/main/keys`, { name }))).status, 400, name);
});

test('tokens: told once, good for what they say, revoked at once', async () => {
  await using server = await TestServer.start();
  const push = await makeToken(server, { caches: ['team-*'], scopes: ['push'] });
  assert.match(push.token, /^larder_/);
  const listed = (await (await server.fetch('/api/v1/tokens')).json()) as { tokens: TokenDescription[] };
  assert.ok(!JSON.stringify(listed).includes(push.token));
  assert.deepEqual(
    listed.tokens.map(({ name }) => name),
    ['admin-token file', 'test'],
  );
  await server.addCache({ name: 'team-b', public: false });
  const missing = (cache: string) =>
    server.fetch(`${CACHES}/${cache}/missing`, { method: 'POST', body: '{"paths":[]}', ...as(push) });
  assert.equal((await missing('team-b')).status, 200);
  assert.equal((await server.fetch('/team-b/nix-cache-info', as(push))).status, 403);
  assert.equal((await server.post('/api/v1/tokens', { name: 'x' })).status, 400);
  assert.equal((await server.fetch('/api/v1/tokens', as(push))).status, 403);
  assert.equal((await server.fetch(`/api/v1/tokens/${push.id}`, { method: 'DELETE' })).status, 204);
  assert.equal((await missing('team-b')).status, 401);
  const bad = [{ caches: ['a/b'] }, { scopes: ['root'] }, { expiresAt: 'tomorrow' }, { scopes: [] }];
  for (const wrong of bad) {
    const body = { name: 'x', caches: ['*'], scopes: ['pull'], ...wrong };
    assert.equal((await errorOf(await server.post('/api/v1/tokens', body))).code, 'request-malformed');
  }
  const expired = await makeToken(server, {
    caches: ['*'],
    scopes: ['pull'],
    expiresAt: '2020-01-01T00:00:00Z',
  });
  assert.equal((await server.fetch('/api/v1/caches', as(expired))).status, 401);
});

test('every change is in the audit log, with who made it; reading is not', async () => {
  await using server = await TestServer.start();
  const token = await makeToken(server, { name: 'ci', caches: ['main'], scopes: ['push', 'pull'] });
  const path = samplePath('audited');
  await server.fetch(`/main/nar/${bare(path.narHash)}.nar`, { method: 'PUT', body: path.nar, ...as(token) });
  await server.fetch(`/main/${path.hashPart}.narinfo`, {
    method: 'PUT',
    body: narInfoOf(path),
    ...as(token),
  });
  await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text();
  await server.fetch(`${CACHES}/main/missing`, { method: 'POST', body: '{"paths":[]}', ...as(token) });
  await server.fetch(`/main/${path.hashPart}.narinfo`, { method: 'PUT', body: 'nonsense', ...as(token) });
  const answer = await server.fetch('/api/v1/audit?limit=10');
  const { entries } = (await answer.json()) as { entries: Record<string, unknown>[] };
  assert.deepEqual(
    entries.map((entry) => [entry.token_name, entry.cache, entry.target, entry.status]),
    [
      ['ci', 'main', `/main/${path.hashPart}.narinfo`, 204],
      ['ci', 'main', `/main/nar/${bare(path.narHash)}.nar`, 204],
      ['admin-token file', null, '/api/v1/tokens', 201],
    ],
  );
  const first = (await (await server.fetch('/api/v1/audit?limit=1&cache=main')).json()) as {
    entries: { id: number }[];
  };
  assert.equal(first.entries.length, 1);
  const page = await server.fetch(`/api/v1/audit?cache=main&before=${first.entries[0]?.id}`);
  assert.equal(((await page.json()) as { entries: unknown[] }).entries.length, 1);
});
