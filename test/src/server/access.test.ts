import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateToken, type Scope, scopes } from '@larder/cache-server/auth/token';
import { allRoutes, createApp } from '@larder/cache-server/http/app';
import { examplePath } from '@larder/cache-server/http/path-parameters';
import type { CacheRoute, OpenRoute, Route, ServerRoute } from '@larder/cache-server/http/route';
import type { Services } from '@larder/cache-server/http/services';
import { errorOf, TestServer } from './running.js';
import { bare, samplePath } from './sample-path.js';

const sample = samplePath('sample');
/** The routes as the server has them (their handlers are not called), the one that deletes last. */
function routesOf<Kind extends Route>(isWanted: (route: Route) => route is Kind): Kind[] {
  const services = { config: { limits: {}, timeouts: {} } } as unknown as Services;
  const routes = allRoutes(services).filter(isWanted);
  return routes.sort((left, right) => Number(left.method === 'DELETE') - Number(right.method === 'DELETE'));
}

const isCacheRoute = (route: Route): route is CacheRoute => typeof route.access !== 'string';
const isOpenRoute = (route: Route): route is OpenRoute => route.access === 'open';
const isServerRoute = (route: Route): route is ServerRoute =>
  route.access === 'token' || route.access === 'server-admin';

interface Caller {
  readonly who: string;
  readonly headers: Record<string, string>;
  /** On the cache that is asked for. */
  readonly scopes: readonly Scope[];
  readonly known: boolean;
}

async function callers(server: TestServer): Promise<Caller[]> {
  const make = async (
    who: string,
    token: { caches: string[]; scopes: readonly Scope[]; expiresAt?: number },
  ) => {
    const text = generateToken();
    await server.addToken(text, { name: who, ...token });
    return { who, headers: { authorization: `Bearer ${text}` } };
  };
  const own = await Promise.all(
    scopes.map(async (scope) => ({
      ...(await make(scope, { caches: ['secret', 'main', 'absent'], scopes: [scope] })),
      scopes: scope === 'admin' ? scopes : [scope],
      known: true,
    })),
  );
  const expired = await make('expired', { caches: ['*'], scopes: ['admin'], expiresAt: Date.now() - 1 });
  const elsewhere = await make('elsewhere', { caches: ['other-*'], scopes: ['admin'] });
  return [
    ...own,
    { who: 'nobody', headers: {}, scopes: [], known: false },
    {
      who: 'a made-up token',
      headers: { authorization: `Bearer ${generateToken()}` },
      scopes: [],
      known: false,
    },
    { ...expired, scopes: [], known: false },
    { ...elsewhere, scopes: [], known: true },
  ];
}

test('every route, with every scope, on a public, a private and an absent cache', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  const everyone = await callers(server);
  const routes = routesOf(isCacheRoute);
  assert.ok(routes.length > 15);
  for (const route of routes)
    for (const cache of ['main', 'secret', 'absent'])
      for (const { who, headers, scopes: granted, known } of everyone) {
        const url = examplePath(route.path, { cache });
        const answer = await fetch(`${server.url}${url}`, {
          method: route.method,
          headers,
          ...(route.method === 'GET' ? {} : { body: 'x' }),
        });
        const isOpen = cache === 'main' && route.access.includes('pull');
        const isGranted = route.access.some((scope) => granted.includes(scope));
        const where = `${route.method} ${url} by ${who}: ${answer.status}`;
        await answer.arrayBuffer();
        if (isOpen || (isGranted && cache !== 'absent'))
          assert.ok(![401, 403].includes(answer.status), where);
        else if (isGranted) assert.equal(answer.status, 404, where);
        else assert.equal(answer.status, known ? 403 : 401, where);
      }
});

test('every route has a rule, and the server answers no other', async () => {
  await using server = await TestServer.start();
  const all = routesOf((each): each is Route => each.path !== '');
  const ruled = [...routesOf(isCacheRoute), ...routesOf(isServerRoute), ...routesOf(isOpenRoute)];
  const nameOf = ({ method, path }: { readonly method: string; readonly path: string }) =>
    `${method} ${path}`;
  assert.deepEqual(ruled.map(nameOf).sort(), all.map(nameOf).sort());
  for (const { path, access } of all) assert.equal(path.includes('/:cache'), Array.isArray(access), path);
  const { routes } = createApp(server.running.services);
  assert.deepEqual([...new Set(routes.map(nameOf))].sort(), [...new Set(all.map(nameOf))].sort());
});

test('the server itself is for its administrators', async () => {
  await using server = await TestServer.start();
  const everyone = await callers(server);
  const routes = routesOf(isServerRoute);
  assert.ok(routes.length > 4);
  for (const route of routes)
    for (const { who, headers, known } of everyone) {
      const answer = await fetch(`${server.url}${examplePath(route.path)}`, {
        method: route.method,
        headers,
        ...(route.method === 'GET' ? {} : { body: '{}' }),
      });
      await answer.arrayBuffer();
      const where = `${route.method} ${route.path} by ${who}: ${answer.status}`;
      if (!known) assert.equal(answer.status, 401, where);
      // None of these has the scope for all caches.
      else if (route.access === 'server-admin') assert.equal(answer.status, 403, where);
      else assert.ok([200, 400].includes(answer.status), where);
    }
});

test('what is open to everyone tells nothing of private caches', async () => {
  await using server = await TestServer.start();
  const look = async ({ method, path }: OpenRoute): Promise<string> => {
    const answer = await fetch(`${server.url}${examplePath(path)}`, { method });
    assert.ok(answer.status < 400, `${path}: ${answer.status}`);
    const { 'x-request-id': _, date: __, ...headers } = Object.fromEntries(answer.headers);
    return JSON.stringify({ status: answer.status, headers, body: await answer.text() });
  };
  const routes = routesOf(isOpenRoute);
  const before = await Promise.all(routes.map(look));
  await server.addCache({ name: 'unheard-of', public: false });
  const after = await Promise.all(routes.map(look));
  for (const [index, { path }] of routes.entries()) assert.equal(after[index], before[index], path);
});

test('a private cache answers strangers exactly as one that does not exist', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  const at = (cache: string) => `/${cache}/${sample.hashPart}.narinfo`;
  const attempts: Record<string, string>[] = [
    {},
    { authorization: 'Bearer x' },
    { authorization: 'Basic eDp5' },
  ];
  for (const headers of attempts) {
    const describe = async (cache: string) => {
      const answer = await fetch(`${server.url}${at(cache)}`, { headers });
      const { requestId, ...error } = await errorOf(answer);
      assert.equal(typeof requestId, 'string');
      const kept = [...answer.headers].filter(
        ([name]) => !['date', 'x-request-id', 'content-length'].includes(name),
      );
      return { error: JSON.stringify(error).replaceAll(cache, 'CACHE'), headers: kept };
    };
    assert.deepEqual(await describe('secret'), await describe('absent'));
  }
  const challenge = await fetch(`${server.url}${at('secret')}`);
  assert.match(challenge.headers.get('www-authenticate') ?? '', /^Basic /);
});

test('what a private cache serves is not for shared caches', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  await server.put(`/secret/nar/${bare(sample.narHash)}.nar`, sample.nar);
  const answer = await server.fetch(`/secret/nar/${bare(sample.narHash)}.nar.zst`);
  assert.match(answer.headers.get('cache-control') ?? '', /^private, /);
  await answer.arrayBuffer();
  const other = await server.fetch(`/main/nar/${bare(sample.narHash)}.nar.zst`);
  assert.equal(other.status, 404, 'caches share nothing');
});

test('a token is the password of Basic, whatever the user is called', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  const authorization = `Basic ${Buffer.from(`anyone:${server.token}`).toString('base64')}`;
  const answer = await fetch(`${server.url}/secret/nix-cache-info`, { headers: { authorization } });
  assert.equal(await answer.text(), 'StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n');
});
