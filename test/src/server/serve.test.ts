import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { startAcceleratingProxy } from '../engines/nginx.js';
import { openBucket } from '../engines/s3.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { errorOf, TestServer } from './running.js';

/** Publishes a tree with a program, a large file and symlinks; gives its store path. */
async function publishTree(server: TestServer, larder: Larder): Promise<string> {
  const tree = larder.scratch.join('tree');
  await mkdir(`${tree}/bin`, { recursive: true });
  await writeFile(`${tree}/bin/<x>.html`, '<script>alert(1)</script>');
  await writeFile(`${tree}/big`, Buffer.alloc(40_000_000, 'larder'));
  await symlink('bin', `${tree}/sbin`);
  await symlink('/etc/passwd', `${tree}/out`);
  const store = `local?root=${larder.scratch.join('store')}`;
  const path = await larder.run(['store', 'add', '--store', store, tree]);
  const tokenFile = larder.scratch.join('token');
  await writeFile(tokenFile, server.token);
  await larder.run(['push', `${server.url}/main`, '--store', store, '--token-file', tokenFile, path]);
  return path;
}

test('single files come out of archives, with ranges, links and listings', async (t) => {
  await using server = await TestServer.start();
  await using larder = await Larder.create();
  const base = (await publishTree(server, larder)).slice('/nix/store/'.length);
  const at = `${server.url}/main/serve/${base.slice(0, 32)}`;

  const page = await fetch(`${at}/bin/%3Cx%3E.html`);
  assert.equal(await page.text(), '<script>alert(1)</script>');
  assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(page.headers.get('content-security-policy'), 'sandbox', 'it acts for nobody');

  // Across the border of two frames of 16 MiB, and unpacked away from the event loop.
  const { narReader } = server.running.services;
  const slice = t.mock.method(narReader, 'slice');
  const start = 16 * 2 ** 20 - 500;
  const part = await fetch(`${at}/big`, { headers: { range: `bytes=${start}-${start + 999}` } });
  assert.equal(part.status, 206);
  assert.equal(slice.mock.callCount(), 1);
  assert.equal(part.headers.get('content-range'), `bytes ${start}-${start + 999}/40000000`);
  const expected = Buffer.alloc(40_000_000, 'larder').subarray(start, start + 1000);
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(expected));

  const listing = await (await fetch(at)).text();
  assert.match(listing, /href="[^"]+\/big"/);
  const byName = await fetch(`${at}/sbin/`, { redirect: 'manual' });
  assert.equal(byName.headers.get('location'), `/main/serve/${base.slice(0, 32)}/bin`);
  assert.match(await (await fetch(`${at}/sbin`)).text(), /&#60;x&#62;\.html/);

  for (const missing of ['/absent', '/big/below', '/out', '/bin/%2e%2e/%2e%2e/x', '/__proto__'])
    assert.equal((await errorOf(await fetch(`${at}${missing}`))).status, 404, missing);
  const past = await fetch(`${at}/big`, { headers: { range: 'bytes=40000000-' } });
  assert.equal((await errorOf(past)).status, 416);
});

test('stock Nix follows to the bucket, where NARs are presigned', async (t) => {
  needsComponent(t, 'nix');
  needsComponent(t, 's3');
  await using bucket = await openBucket();
  const toml = `
    [reads]
    redirect = "presigned"
    [storage]
    engine = "s3"
    bucket = "${bucket.bucket}"
    endpoint = "${bucket.endpoint}"
    region = "${bucket.region}"
    access_key_id = "${bucket.accessKeyId}"
    secret_access_key = "${bucket.secretAccessKey}"
  `;
  await using server = await TestServer.start({ toml });
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  const path = await publishTree(server, larder);
  const narinfo = await (await fetch(`${server.url}/main/${path.slice(11, 43)}.narinfo`)).text();
  const nar = /^URL: (.*)$/m.exec(narinfo)?.[1] ?? '';
  const answer = await fetch(`${server.url}/main/${nar}`, { redirect: 'manual' });
  assert.equal(answer.status, 302);
  assert.ok(answer.headers.get('location')?.startsWith(bucket.endpoint));
  const description = await (await fetch(`${server.url}/api/v1/caches/main`)).json();
  const [key = ''] = (description as { publicKeys: string[] }).publicKeys;
  const fetched = await nix.fetchFresh(`${server.url}/main`, key, [path]);
  assert.equal(fetched.status, 0, fetched.stderr);
});

test('only public caches are sent to a CDN', async () => {
  await using server = await TestServer.start({
    toml: '[reads]\nredirect = "cdn"\ncdn_url = "https://cdn.example.org/"',
  });
  await server.addCache({ name: 'secret', public: false });
  const file = `nar/${'0'.repeat(52)}.nar.zst`;
  const open = await server.fetch(`/main/${file}`, { redirect: 'manual' });
  assert.equal(open.headers.get('location'), `https://cdn.example.org/main/${file}`);
  const closed = await server.fetch(`/secret/${file}`, { redirect: 'manual' });
  assert.equal((await errorOf(closed)).status, 404);
});

test('nginx in front sends NARs from the disk, to those who may read them', async (t) => {
  needsComponent(t, 'nix');
  needsComponent(t, 'nginx');
  await using server = await TestServer.start({ toml: '[reads]\nredirect = "accel"' });
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  await using nginx = await startAcceleratingProxy(
    Number(new URL(server.url).port),
    server.scratch.join('data/storage'),
  );
  const path = await publishTree(server, larder);
  const narinfo = await (await fetch(`${server.url}/main/${path.slice(11, 43)}.narinfo`)).text();
  const file = `/main/${/^URL: (.*)$/m.exec(narinfo)?.[1] ?? ''}`;

  const told = await fetch(`${server.url}${file}`, { headers: { 'X-Sendfile-Type': 'X-Accel-Redirect' } });
  assert.equal(told.headers.get('X-Accel-Redirect'), `/larder-storage${file}`);
  assert.equal((await told.arrayBuffer()).byteLength, 0);

  const direct = await fetch(`${server.url}${file}`);
  const whole = Buffer.from(await direct.arrayBuffer());
  const sent = await fetch(`${nginx.url}${file}`);
  assert.match(sent.headers.get('Server') ?? '', /nginx/);
  assert.equal(sent.headers.get('X-Accel-Redirect'), null);
  assert.equal(sent.headers.get('Content-Type'), 'application/x-nix-nar');
  assert.match(sent.headers.get('Cache-Control') ?? '', /immutable/);
  assert.ok(Buffer.from(await sent.arrayBuffer()).equals(whole));
  const part = await fetch(`${nginx.url}${file}`, { headers: { range: 'bytes=100-199' } });
  assert.equal(part.status, 206);
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(100, 200)));

  const internal = await fetch(`${nginx.url}/larder-storage${file}`);
  assert.equal(internal.status, 404);
  await server.addCache({ name: 'secret', public: false });
  assert.equal((await fetch(`${nginx.url}${file.replace('main', 'secret')}`)).status, 401);
  assert.equal((await fetch(`${nginx.url}/main/nar/${'0'.repeat(52)}.nar.zst`)).status, 404);

  const description = await (await fetch(`${nginx.url}/api/v1/caches/main`)).json();
  const [key = ''] = (description as { publicKeys: string[] }).publicKeys;
  const fetched = await nix.fetchFresh(`${nginx.url}/main`, key, [path]);
  assert.equal(fetched.status, 0, fetched.stderr);
});
