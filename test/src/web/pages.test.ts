import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { generateToken } from '@larder/cache-server/auth/token';
import type { Page } from 'playwright-core';
import { needsComponent } from '../engines/components.js';
import { TestServer } from '../server/running.js';
import type { SamplePath } from '../server/sample-path.js';
import { TestBrowser } from './browser.js';
import { deriverOf, stockUp } from './stock-up.js';

let server: TestServer;
let paths: ReadonlyMap<string, SamplePath>;
before(async () => {
  server = await TestServer.start();
  await server.addCache({ name: 'secret', public: false });
  paths = await stockUp(server);
});
after(() => server[Symbol.asyncDispose]());

function sample(name: string): SamplePath {
  const path = paths.get(name);
  assert.ok(path !== undefined, name);
  return path;
}

/** What an accessibility checker minds of the page as it is. */
async function faultsOf(page: Page, rules?: readonly string[]): Promise<string[]> {
  const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  // Not as a script element: the page's policy allows none but its own.
  await page.evaluate(source);
  const found = await page.evaluate(
    `axe.run(${JSON.stringify(rules === undefined ? {} : { runOnly: rules })})`,
  );
  const { violations } = found as { violations: { id: string; nodes: { html: string }[] }[] };
  return violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(' '));
}

/** What is to be read on the page. */
async function textOf(page: Page): Promise<string> {
  const text = (await page.locator('main').textContent()) ?? '';
  return text.replace(/\s+/g, ' ');
}

test('the pages, in a browser', async (t) => {
  if (!needsComponent(t, 'browser')) return;
  await using browser = await TestBrowser.start();

  await t.test('from the list of caches to a path, by keys alone', async () => {
    await using visitor = await browser.visit(server.url);
    const { page } = visitor;
    await page.goto('/');
    assert.equal(await page.locator('tbody tr').count(), 1, 'a private cache does not show');
    await page.keyboard.press('j');
    await Promise.all([page.waitForURL('**/main'), page.keyboard.press('Enter')]);
    await page.keyboard.press('/');
    await page.keyboard.type('requests');
    await Promise.all([page.waitForURL('**/main/search?q=requests'), page.keyboard.press('Enter')]);
    assert.match(
      (await page.locator('tbody tr').first().textContent()) ?? '',
      /^python3\.12-requests-2\.32\.3/,
    );
    await page.keyboard.press('j');
    const { hashPart } = sample('python3.12-requests-2.32.3');
    await Promise.all([page.waitForURL(`**/main/path/${hashPart}`), page.keyboard.press('Enter')]);
    assert.equal(await page.locator('h1').textContent(), 'python3.12-requests-2.32.3');
    await page.keyboard.press('?');
    await page.locator('dialog').waitFor({ state: 'visible' });
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({ state: 'hidden' });
    await Promise.all([page.waitForURL('**/main'), page.keyboard.press('u')]);
  });

  await t.test('what is shown of a path', async () => {
    await using visitor = await browser.visit(server.url);
    const { page } = visitor;
    await page.goto(`/main/path/${sample('python3-3.12.9').hashPart}`);
    const text = await textOf(page);
    assert.match(text, /12 paths/);
    assert.match(text, /main-1 valid trusted by users of this cache/);
    assert.match(text, /References.*bash-5\.2p37.*Referrers.*nodejs-22\.14\.0/s);
    const exact = await page.locator('time').first().getAttribute('title');
    assert.match(exact ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);

    await page.getByRole('link', { name: 'Closure' }).click();
    await page.getByRole('link', { name: /^glibc-2\.40-66, / }).click();
    await page.waitForURL(`**/${sample('glibc-2.40-66').hashPart}`);
    await page.getByRole('link', { name: 'Files' }).click();
    assert.match(await textOf(page), /1 file, 290 KiB/);
  });

  await t.test(
    'logging in shows private caches, tokens can be made and revoked, logging out ends it',
    async () => {
      await using visitor = await browser.visit(server.url);
      const { page } = visitor;
      const answer = await page.goto('/secret');
      assert.equal(answer?.status(), 401);
      await page.getByRole('main').getByRole('link', { name: 'Log in' }).click();
      await page.getByLabel('Token').fill('larder_wrong');
      await page.getByRole('button', { name: 'Log in' }).click();
      await page.getByRole('alert').waitFor();
      await page.getByLabel('Token').fill(server.token);
      await Promise.all([page.waitForURL('**/secret'), page.getByRole('button', { name: 'Log in' }).click()]);
      assert.match((await page.locator('h1').textContent()) ?? '', /secret.*private/);

      await page.getByRole('link', { name: 'Tokens' }).click();
      await page.getByRole('textbox', { name: 'Name', exact: true }).fill('ci of a test');
      await page.getByLabel('Caches').fill('main team-*');
      await page.getByLabel('push').check();
      await page.getByRole('button', { name: 'Make the token' }).click();
      const token = (await page.locator('.say pre').textContent()) ?? '';
      const ask = async (): Promise<number> =>
        (await fetch(`${server.url}/api/v1/caches`, { headers: { authorization: `Bearer ${token}` } }))
          .status;
      assert.equal(await ask(), 200);
      await page.getByRole('button', { name: 'Revoke the token ci of a test' }).click();
      await page.locator('tr', { hasText: 'ci of a test' }).getByText('revoked').waitFor();
      assert.equal(await ask(), 401);

      await page.getByRole('button', { name: 'Log out' }).click();
      await page.waitForURL(`${server.url}/`);
      assert.equal((await page.goto('/secret'))?.status(), 401);
    },
  );

  await t.test('without script all of it works, but for the keys', async () => {
    await using visitor = await browser.visit(server.url, { javaScriptEnabled: false });
    const { page } = visitor;
    await page.goto('/main');
    await page.getByLabel('Search main').fill('openssl 3.3');
    await page.getByLabel('Search main').press('Enter');
    await page.getByRole('link', { name: /^openssl-3\.3\.3/ }).click();
    assert.equal(await page.locator('h1').textContent(), 'openssl-3.3.3');
  });

  for (const colorScheme of ['light', 'dark'] as const)
    await t.test(
      `${colorScheme}: nothing that an accessibility checker minds, on a screen and on a phone`,
      async () => {
        await using visitor = await browser.visit(server.url, { colorScheme });
        const { page } = visitor;
        const path = `/main/path/${sample('nixos-system-kitchen-25.05').hashPart}`;
        const pages = [
          '/',
          '/main',
          '/main/search?q=ssl',
          '/main/search?q=open',
          path,
          `${path}/closure`,
          `${path}/files`,
        ];
        for (const url of [...pages, '/main/pins', '/main/usage', '/login', '/secret', '/main/path/x']) {
          await page.goto(url);
          // The colours are all that differs.
          const rules = colorScheme === 'dark' ? ['color-contrast'] : undefined;
          assert.deepEqual(await faultsOf(page, rules), [], url);
          const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
          assert.ok(Number(overflow) <= 0, `${url} is wider than the window`);
          await page.setViewportSize({ width: 390, height: 800 });
          const onPhone = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
          assert.ok(Number(onPhone) <= 0, `${url} is wider than a phone`);
          await page.setViewportSize({ width: 1180, height: 820 });
        }
        const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        assert.equal(background, colorScheme === 'dark' ? 'rgb(23, 22, 19)' : 'rgb(251, 250, 247)');
      },
    );
});

test('search finds the beginnings of words, several words, hashes and whole paths', async () => {
  const find = async (question: string): Promise<string[]> => {
    const answer = await fetch(`${server.url}/main/search?q=${encodeURIComponent(question)}`);
    assert.equal(answer.status, 200, question);
    return [...(await answer.text()).matchAll(/<span class="name">([^<]*)<\/span>/g)].map(
      ([, name]) => name ?? '',
    );
  };
  assert.deepEqual(await find('openssl'), ['openssl-3.4.1-dev', 'openssl-3.4.1', 'openssl-3.3.3']);
  assert.deepEqual(await find('OpenSSL dev'), ['openssl-3.4.1-dev']);
  assert.deepEqual(await find('requests'), ['python3.12-requests-2.32.3']);
  assert.deepEqual(
    (await find('3.12')).sort(),
    [...paths.keys()].filter((name) => name.includes('3.12')).sort(),
  );
  assert.deepEqual(await find('kitchen system'), ['nixos-system-kitchen-25.05']);
  assert.deepEqual(await find('nosuchthing'), []);
  assert.deepEqual(await find(''), []);
  assert.deepEqual(await find('%'), [], 'no pattern of SQL');
  const { hashPart, storePath } = sample('glibc-2.40-66');
  assert.deepEqual(await find(hashPart.slice(0, 6)), ['glibc-2.40-66']);
  for (const whole of [
    hashPart,
    storePath,
    `/nix/store/${storePath}`,
    ` /nix/store/${storePath}/lib `.trim(),
  ]) {
    const answer = await fetch(`${server.url}/main/search?q=${encodeURIComponent(whole)}`, {
      redirect: 'manual',
    });
    assert.equal(answer.headers.get('location'), `/main/path/${hashPart}`, whole);
  }
});

test('pages are for whoever may read the cache, and carry nothing that runs', async () => {
  const { hashPart } = sample('glibc-2.40-66');
  const narrow = generateToken();
  await server.addToken(narrow, { name: 'narrow', caches: ['main'], scopes: ['pull'] });
  const tabs = ['', '/search?q=a', '/pins', '/usage', `/path/${hashPart}`, `/path/${hashPart}/closure`];
  for (const tab of tabs) {
    const strangers = await Promise.all(
      ['secret', 'absent'].map(async (cache) => {
        const answer = await fetch(`${server.url}/${cache}${tab}`);
        const text = (await answer.text())
          .replaceAll(cache, 'CACHE')
          .replace(/<code>[0-9a-f-]{36}<\/code>/, '');
        return { status: answer.status, text };
      }),
    );
    assert.deepEqual(strangers[0], strangers[1], 'a private cache looks like none');
    assert.equal(strangers[0]?.status, 401);
    const other = await fetch(`${server.url}/secret${tab}`, {
      headers: { authorization: `Bearer ${narrow}` },
    });
    assert.equal(other.status, 403);
  }
  const page = await fetch(`${server.url}/main`);
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|data:|\*/);
  assert.equal(page.headers.get('cache-control'), 'private, no-cache');
  const evil = '"><script>alert(1)</script>';
  const searched = await (await fetch(`${server.url}/main/search?q=${encodeURIComponent(evil)}`)).text();
  assert.equal(searched.includes('<script>alert'), false);
});

test('a session is for pages alone, ends with its token, and its forms are its own', async () => {
  const text = generateToken();
  await server.addToken(text, { name: 'person', caches: ['*'], scopes: ['admin'] });
  const origin = { origin: server.url };
  const post = (url: string, body: Record<string, string>, headers: Record<string, string>) =>
    fetch(`${server.url}${url}`, {
      method: 'POST',
      body: new URLSearchParams(body),
      headers,
      redirect: 'manual',
    });
  const login = await post('/login', { token: text, next: '/secret' }, origin);
  assert.equal(login.headers.get('location'), '/secret');
  const set = login.headers.get('set-cookie') ?? '';
  assert.match(set, /; HttpOnly/i);
  assert.match(set, /; SameSite=Lax/i);
  assert.equal(set.includes(text), false);
  const [cookie = ''] = set.split(';');
  const as = (headers: Record<string, string> = {}) => ({ cookie, ...headers });
  const see = (url: string) => fetch(`${server.url}${url}`, { headers: as() });
  assert.equal((await see('/secret')).status, 200);
  assert.equal((await see('/api/v1/tokens')).status, 401, 'it is no token');
  assert.equal((await see('/secret/nix-cache-info')).status, 401);
  assert.equal(
    (await fetch(`${server.url}/secret`, { headers: { cookie: cookie.replace(/\d/, '9') } })).status,
    401,
  );

  const form = { name: 'x', caches: 'main', scope: 'pull' };
  const key = /name="key" value="([^"]+)"/.exec(await (await see('/admin/tokens')).text())?.[1] ?? '';
  const statusOf = async (...request: Parameters<typeof post>): Promise<number> =>
    (await post(...request)).status;
  assert.equal(await statusOf('/admin/tokens', { ...form, key }, as(origin)), 201);
  assert.equal(await statusOf('/admin/tokens', form, as(origin)), 403, 'without the key of the form');
  const elsewhere = { origin: 'https://evil.example' };
  assert.equal(await statusOf('/admin/tokens', { ...form, key }, as(elsewhere)), 403);
  assert.equal(
    await statusOf('/admin/tokens', { ...form, key }, as({ 'sec-fetch-site': 'cross-site' })),
    403,
  );
  assert.equal(await statusOf('/login/end', { key }, as(elsewhere)), 403);
  const forced = await post('/login', { token: text }, elsewhere);
  assert.equal(forced.headers.get('set-cookie'), null, 'nobody is logged in by another site');
  for (const next of ['https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)'])
    assert.equal((await post('/login', { token: text, next }, origin)).headers.get('location'), '/', next);

  const id =
    /person<\/span> <span class="mono">#(\d+)/.exec(await (await see('/admin/tokens')).text())?.[1] ?? '';
  await server.fetch(`/api/v1/tokens/${id}`, { method: 'DELETE' });
  assert.equal((await see('/secret')).status, 401, 'the token was revoked');
});

test('over TLS the cookie is for TLS alone', async () => {
  await using secure = await TestServer.start({ toml: 'public_url = "https://cache.example.org"' });
  const answer = await fetch(`${secure.url}/login`, {
    method: 'POST',
    body: new URLSearchParams({ token: secure.token }),
    headers: { origin: 'https://cache.example.org' },
    redirect: 'manual',
  });
  const cookie = answer.headers.get('set-cookie') ?? '';
  assert.match(cookie, /^__Host-larder-session=/);
  assert.match(cookie, /; Secure/i);
  const [pair = ''] = cookie.split(';');
  const page = await fetch(`${secure.url}/admin/tokens`, { headers: { cookie: pair } });
  assert.equal(page.status, 200);
});

test("a log is shown without its terminal's colours, and a stranger's is text", async () => {
  const path = sample('larder-0.1.0');
  const log = '\u001b[1mbuilding\u001b[0m <script>alert(1)</script>\n';
  await server.put(`/api/v1/caches/main/logs/${deriverOf(path)}`, log);
  const page = await (await fetch(`${server.url}/main/path/${path.hashPart}/log`)).text();
  assert.match(page, /building &lt;script&gt;alert\(1\)/);
});

test('what caches are used for is counted by day', async () => {
  await using counted = await TestServer.start();
  const [path] = [...(await stockUp(counted)).values()];
  assert.ok(path !== undefined);
  const before = await (await fetch(`${counted.url}/main/${path.hashPart}.narinfo`)).text();
  const url = /^URL: (.*)$/m.exec(before)?.[1];
  await (await fetch(`${counted.url}/main/${url}`)).arrayBuffer();
  await (await fetch(`${counted.url}/main/00000000000000000000000000000000.narinfo`)).text();
  await counted.running.flushUsage();
  const page = await (await fetch(`${counted.url}/main/usage`)).text();
  const today = new Date().toISOString().slice(0, 10);
  const cells = new RegExp(`<td>${today}</td>(?:<td class="number">[^<]*</td>){6}`).exec(page)?.[0] ?? page;
  const [lookups, hits, nars, , uploads] = [...cells.matchAll(/"number">([^<]*)</g)].map(([, cell]) => cell);
  assert.deepEqual({ lookups, hits, nars, uploads }, { lookups: '2', hits: '1', nars: '1', uploads: '25' });
});
