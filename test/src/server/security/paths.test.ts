import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { generateToken, scopes } from '@larder/cache-server/auth/token';
import { examplePath } from '@larder/cache-server/http/path-parameters';
import type { Route } from '@larder/cache-server/http/route';
import { TestServer } from '../running.js';
import { samplePath } from '../sample-path.js';
import { RawClient } from './raw-request.js';
import { parametersOf, routeTable } from './route-table.js';

const MARK = 'only-for-its-own-people';

/** What may stand in the place of a parameter, as it goes over the wire. */
const EVIL = [
  '..',
  '.',
  '%2e%2e',
  '%252e%252e',
  '../secret',
  '..%2fsecret',
  '..%2f..%2f..%2fadmin-token',
  '..%252f..%252fadmin-token',
  '%2e%2e%2f%2e%2e%2fseal-key',
  '/etc/passwd',
  '%2fetc%2fpasswd',
  '..%5c..%5cadmin-token',
  '..\\..\\admin-token',
  '%c0%ae%c0%ae%c0%afadmin-token',
  'main%00',
  '%00',
  '.staging',
  '__proto__',
  'constructor',
  'a%0d%0aX-Evil:%20yes',
  'a%0aX-Evil:%20yes',
  '%e5%98%8a%e5%98%8dX-Evil:%20yes',
  '%ff%fe',
  '%',
  '%ed%a0%80',
  '*',
  `a${'b'.repeat(3000)}`,
] as const;

/** What an evil value looks like: itself, and, where it climbs, behind and before what a parameter should be. */
function forms(value: string): string[] {
  if (!value.includes('..') && !value.includes('%2e')) return [value];
  return [value, `${samplePath('x').hashPart}-${value}`, `${value}/${samplePath('x').storePath}`];
}

function evilPaths(route: Route): string[] {
  return parametersOf(route).flatMap((name) =>
    // Every route has its cache looked up in one way.
    (name === 'cache' ? EVIL.slice(0, 12) : EVIL.flatMap(forms)).map((value) =>
      examplePath(route.path, { [name]: value }),
    ),
  );
}

/** Every file of the server's but those of `main`, and of the database. */
async function filesOf(directory: string): Promise<string[]> {
  const files = await readdir(directory, { recursive: true });
  return files.filter((file) => !/^storage\/main\/|larder\.db/.test(file)).sort();
}

test('no parameter of any route leads out of its place, or into a header', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  const log = `/secret/log/${samplePath('x').storePath}.drv`;
  assert.equal((await server.put(log, MARK)).status, 204);
  const data = server.scratch.join('data');
  const secrets = [
    MARK,
    server.token,
    (await readFile(`${data}/seal-key`)).toString('latin1'),
    'root:x:0:0',
    'larder-cache.json',
  ];
  // It may do anything, to one cache.
  const token = generateToken();
  await server.addToken(token, { name: 'one', caches: ['main'], scopes: [...scopes] });
  const before = await filesOf(data);
  using client = new RawClient(server.url);
  const headers = { authorization: `Bearer ${token}` };
  for (const route of routeTable()) {
    const { method } = route;
    const paths = evilPaths(route).map(async (path) => {
      const body = method === 'GET' ? '' : '{}';
      const answer = await client.send(path, { method, headers, body }).catch((error: unknown) => {
        throw new Error(`${method} ${path} got no answer`, { cause: error });
      });
      const where = `${method} ${path}: ${answer.status}`;
      assert.ok(answer.status < 500, `${where} ${answer.text}`);
      assert.equal(answer.headers['x-evil'], undefined, where);
      for (const secret of secrets) assert.ok(!answer.text.includes(secret), `${where} tells ${secret}`);
    });
    await Promise.all(paths);
  }
  assert.deepEqual(await filesOf(data), before, 'nothing was written elsewhere');
});

test('no query, and no header, gets into a header or past the gate', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  using client = new RawClient(server.url);
  const evil = ['%0d%0aX-Evil:%20yes', '%0aX-Evil:%20yes', '//elsewhere.example/', '%5c%5celsewhere.example'];
  for (const route of routeTable())
    for (const name of Object.keys(route.about.query ?? {}))
      for (const value of evil) {
        const path = `${examplePath(route.path)}?${name}=${value}`;
        const answer = await client.send(path, {
          method: route.method,
          headers: { authorization: `Bearer ${server.token}` },
        });
        const where = `${route.method} ${path}: ${answer.status}`;
        assert.ok(answer.status < 500, `${where} ${answer.text}`);
        assert.equal(answer.headers['x-evil'], undefined, where);
        assert.doesNotMatch(answer.headers.location ?? '', /elsewhere/, where);
      }
  const wanted = '/secret/nix-cache-info';
  const tries: Record<string, string>[] = [
    { 'x-original-url': wanted, 'x-rewrite-url': wanted },
    { 'x-http-method-override': 'PUT' },
    { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1', forwarded: 'for=127.0.0.1' },
    { host: 'secret', 'x-forwarded-host': 'secret' },
    { 'x-request-id': 'a\tb' },
  ];
  for (const headers of tries) {
    assert.equal((await client.send(wanted, { headers })).status, 401, JSON.stringify(headers));
    const open = await client.send('/main/nix-cache-info', { headers });
    assert.equal(open.status, 200, JSON.stringify(headers));
    assert.notEqual(open.headers['x-request-id'], 'a\tb');
  }
  for (const storeDir of [
    '/nix/store\nPriority: 1',
    '/nix/store\r\nX-Evil: yes',
    '/nix/../store',
    'store',
    '/a b\0',
  ]) {
    const answer = await server.post('/api/v1/caches', { name: 'evil', storeDir });
    assert.equal(answer.status, 400, `${JSON.stringify(storeDir)}: ${await answer.text()}`);
  }
  for (const path of ['/main//nix-cache-info', '//main/nix-cache-info', '/main/../secret/nix-cache-info'])
    assert.ok([401, 404].includes((await client.send(path)).status), path);
  for (const host of ['a b', 'a/b', '[', '']) {
    const headers = { host, origin: 'http://elsewhere.example' };
    const { status, headers: told } = await client.send('/login', {
      method: 'POST',
      headers,
      body: 'token=x',
    });
    assert.ok(status < 500, `${host}: ${status}`);
    assert.equal(told['set-cookie'], undefined);
  }
  for (const host of ['a b', 'evil.example/"><script>', 'x@y', '%0d%0a'])
    assert.doesNotMatch(
      (await client.send('/api/v1/caches/main', { headers: { host } })).text,
      /script>|\n/,
      host,
    );
});
