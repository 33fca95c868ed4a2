import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allRoutes } from '@larder/cache-server/http/app';
import { templateOf } from '@larder/cache-server/http/path-parameters';
import type { Services } from '@larder/cache-server/http/services';
import { TestServer } from './running.js';
import { bare, samplePath } from './sample-path.js';

const routes = allRoutes({ config: { limits: {}, timeouts: {} } } as unknown as Services);
const sample = samplePath('documented');

/** Checks that an answer is as its route describes it, to the last field. */
async function checkAnswer(template: string, answer: Response, method = 'GET'): Promise<void> {
  const route = routes.find((each) => each.method === method && templateOf(each.path) === template);
  const where = `${method} ${template}: ${answer.status}`;
  const described = route?.about.answers[answer.status];
  assert.ok(described !== undefined && 'json' in described && described.json !== undefined, where);
  const body = await answer.json();
  const parsed = described.json.safeParse(body);
  assert.deepEqual(parsed.error?.issues ?? [], [], where);
  // Parsing drops what the schema does not have.
  assert.deepEqual(parsed.data, body, where);
}

test('answers are as the document says', async () => {
  await using server = await TestServer.start();
  const { url } = server;
  const nar = `/api/v1/caches/main/nars/${bare(sample.narHash)}`;
  const token = { name: 'ci', caches: ['*'], scopes: ['pull'], expiresAt: '2100-01-01T00:00:00Z' };
  const cacheUrl = '/api/v1/caches/{cache}';

  await checkAnswer('/healthz', await fetch(`${url}/healthz`));
  await checkAnswer('/readyz', await fetch(`${url}/readyz`));
  await checkAnswer('/api/v1/caches', await server.post('/api/v1/caches', { name: 'team' }), 'POST');
  await checkAnswer('/api/v1/caches', await server.fetch('/api/v1/caches'));
  await checkAnswer(cacheUrl, await server.fetch('/api/v1/caches/main'));
  await checkAnswer(`${cacheUrl}/keys`, await server.post('/api/v1/caches/main/keys', {}), 'POST');
  await checkAnswer(`${cacheUrl}/nars/{narHash}`, await server.put(nar, sample.nar), 'PUT');
  await checkAnswer(`${cacheUrl}/nars/{narHash}`, await server.put(nar, sample.nar), 'PUT');
  await checkAnswer(`${cacheUrl}/nars/{narHash}`, await server.fetch(nar));
  const paths = [sample.storePath];
  await checkAnswer(
    `${cacheUrl}/missing`,
    await server.post('/api/v1/caches/main/missing', { paths }),
    'POST',
  );
  await checkAnswer('/api/v1/tokens', await server.post('/api/v1/tokens', token), 'POST');
  await checkAnswer('/api/v1/tokens', await server.fetch('/api/v1/tokens'));
  await checkAnswer('/api/v1/audit', await server.fetch('/api/v1/audit?limit=2'));
});

test('the document is served, and a page to browse it that loads nothing from elsewhere', async () => {
  await using server = await TestServer.start();
  const document = (await (await fetch(`${server.url}/api/v1/openapi.json`)).json()) as {
    openapi: string;
    paths: Record<string, unknown>;
  };
  assert.equal(document.openapi, '3.1.0');
  assert.ok('/{cache}/{hash}.narinfo' in document.paths);
  const page = await fetch(`${server.url}/docs`);
  assert.match(page.headers.get('content-security-policy') ?? '', /script-src 'self';/);
  const html = await page.text();
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link ?? '');
  assert.ok(links.length >= 4);
  for (const link of links) {
    assert.match(link, /^\/docs\//);
    const asset = await fetch(`${server.url}${link}`);
    assert.equal(asset.status, 200, link);
    assert.equal(`${(await asset.arrayBuffer()).byteLength}`, asset.headers.get('content-length'), link);
  }
  const foreign = await fetch(`${server.url}/docs/..%2fpackage.json`);
  assert.equal(foreign.status, 404);
});
