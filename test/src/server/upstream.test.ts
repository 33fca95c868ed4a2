import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TestClient } from '../client/client.js';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, samplePath } from './sample-path.js';

/** Only the operator may let a cache behind the server be on the inside. */
const ON_THIS_MACHINE = '[upstreams]\nallow_private = ["127.0.0.0/8"]\n';

/** A cache that stock Nix made, and a server in front of its files that counts what is asked, and can be stopped. */
class UpstreamCache implements AsyncDisposable {
  readonly asked = new Map<string, number>();
  readonly directory: string;
  readonly publicKey: string;
  readonly paths: readonly string[];
  /** Makes each answer wait for it. */
  gate: Promise<void> = Promise.resolve();
  isDown = false;
  readonly #server;

  private constructor(directory: string, publicKey: string, paths: readonly string[]) {
    this.directory = directory;
    this.publicKey = publicKey;
    this.paths = paths;
    this.#server = createServer(this.#answer);
  }

  static async start(nix: Nix, seed: string): Promise<UpstreamCache> {
    const objects = await makeClosure(nix.scratch.join('trees'), { seed, paths: 5 });
    const paths = await importClosure(nix, objects);
    const secret = nix.scratch.join('secret');
    await writeFile(secret, await nix.run('nix', ['key', 'generate-secret', '--key-name', 'upstream-1']));
    const publicKey = await nix.run('nix', ['key', 'convert-secret-to-public'], {
      input: await readFile(secret),
    });
    const directory = nix.scratch.join('upstream');
    await nix.run('nix', ['copy', '--to', `file://${directory}?secret-key=${secret}`, ...paths]);
    const cache = new UpstreamCache(directory, publicKey, paths);
    await new Promise<void>((resolve) => cache.#server.listen(0, '127.0.0.1', resolve));
    return cache;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #answer: RequestListener = (request, response) => {
    const name = request.url ?? '';
    this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
    void this.gate.then(async () => {
      const body = await readFile(join(this.directory, name)).catch(() => undefined);
      response.writeHead(this.isDown ? 500 : body === undefined ? 404 : 200);
      response.end(this.isDown ? undefined : body);
    });
  };

  /** How often NARs were asked for, and narinfos. */
  count(part: string): number {
    return [...this.asked].filter(([name]) => name.includes(part)).reduce((sum, [, times]) => sum + times, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function putBehind(server: TestServer, upstream: UpstreamCache, more = {}): Promise<void> {
  const body = { upstreams: [{ url: upstream.url, publicKeys: [upstream.publicKey] }], ...more };
  const answer = await server.fetch('/api/v1/caches/main', { method: 'PATCH', body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.text());
}

function hashPartOf(path: string): string {
  return path.slice('/nix/store/'.length, '/nix/store/'.length + 32);
}

function skips(t: TestContext): boolean {
  return !needsComponent(t, 'nix');
}

test('stock Nix fetches through a cache what an upstream has; then the upstream is not needed', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'pull-through');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  await putBehind(server, upstream);
  const cache = `${server.url}/main`;
  const fetched = await nix.fetchFresh(cache, upstream.publicKey, upstream.paths);
  assert.equal(fetched.status, 0, fetched.stderr);
  for (const path of upstream.paths) {
    const narinfo = await (await server.fetch(`/main/${hashPartOf(path)}.narinfo`)).text();
    assert.match(narinfo, /^FileHash: /m, 'it is the cache’s own by now');
    assert.match(narinfo, /^Sig: upstream-1:/m);
    assert.doesNotMatch(narinfo, /^Sig: main-1:/m, 'not ours to sign');
    assert.ok(existsSync(server.scratch.join(`data/storage/main/${hashPartOf(path)}.narinfo`)));
  }
  const nars = upstream.count('/nar/');
  upstream.isDown = true;
  const again = await nix.fetchFresh(cache, upstream.publicKey, upstream.paths);
  assert.equal(again.status, 0, again.stderr);
  assert.equal(upstream.count('/nar/'), nars);
  const usage = (await (await server.fetch('/api/v1/caches/main/usage')).json()) as { paths: number };
  assert.equal(usage.paths, upstream.paths.length);
});

test('Larder fetches closures through a cache, whoever has the parts', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'closure-behind');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  await putBehind(server, upstream);
  await using client = TestClient.create();
  const top = defaultStoreDir.parse(upstream.paths.at(-1)!);
  for (const store of ['first', 'second']) {
    const to = `local?root=${nix.scratch.join(store)}`;
    const { copied } = await client.copy([top], {
      from: [`${server.url}/main`],
      to,
      keys: [upstream.publicKey],
    });
    assert.ok(copied.includes(top));
  }
});

test('many who ask at once share one fetch; what is not there is asked once', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'shared');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  await putBehind(server, upstream);
  let open = (): void => undefined;
  upstream.gate = new Promise((resolve) => {
    open = resolve;
  });
  const [path = ''] = upstream.paths;
  const narinfos = Array.from({ length: 8 }, () => server.fetch(`/main/${hashPartOf(path)}.narinfo`));
  open();
  const texts = await Promise.all(narinfos.map(async (answer) => (await answer).text()));
  assert.equal(new Set(texts).size, 1);
  const [, url = ''] = /^URL: (.*)$/m.exec(texts[0] ?? '') ?? [];
  const bodies = await Promise.all(
    Array.from({ length: 8 }, async () => (await server.fetch(`/main/${url}`)).arrayBuffer()),
  );
  assert.ok((bodies[0]?.byteLength ?? 0) > 0);
  for (const body of bodies) assert.deepEqual(body, bodies[0]);
  assert.equal(upstream.count('.narinfo'), 1);
  assert.equal(upstream.count('/nar/'), 1);
  const absent = samplePath('absent');
  for (let times = 0; times < 3; times++)
    assert.equal((await server.fetch(`/main/${absent.hashPart}.narinfo`)).status, 404);
  assert.equal(upstream.count(absent.hashPart), 1);
});

test('what no configured key signed, or is not what was signed, is not taken', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'untrusted');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  const [first = '', second = ''] = upstream.paths;
  // Another key is trusted.
  const [other] = ((await (await server.fetch('/api/v1/caches/main')).json()) as { publicKeys: [string] })
    .publicKeys;
  const body = JSON.stringify({ upstreams: [{ url: upstream.url, publicKeys: [other] }] });
  await server.fetch('/api/v1/caches/main', { method: 'PATCH', body });
  assert.equal((await server.fetch(`/main/${hashPartOf(first)}.narinfo`)).status, 404);

  await server.post('/api/v1/caches', { name: 'second', public: true });
  const trusted = JSON.stringify({ upstreams: [{ url: upstream.url, publicKeys: [upstream.publicKey] }] });
  await server.fetch('/api/v1/caches/second', { method: 'PATCH', body: trusted });
  const narinfo = await (await server.fetch(`/second/${hashPartOf(second)}.narinfo`)).text();
  // The NAR is another than the narinfo says.
  const nars = await readdir(join(upstream.directory, 'nar'));
  for (const name of nars) {
    const file = join(upstream.directory, 'nar', name);
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 20));
  }
  const [, url = ''] = /^URL: (.*)$/m.exec(narinfo) ?? [];
  await assert.rejects(async () => {
    const answer = await server.fetch(`/second/${url}`);
    const bytes = await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`refused: ${answer.status} ${bytes.byteLength}`);
  });
  assert.ok(!existsSync(server.scratch.join(`data/storage/second/${url}`)), 'nothing of it is kept');
});

test('a path may refer to what only the upstream has', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'referred');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  const [base = ''] = upstream.paths;
  const name = base.slice('/nix/store/'.length);
  const top = samplePath('top', [{ ...samplePath('x'), storePath: name as never }]);
  const commit = () => server.post('/api/v1/caches/main/commit', { paths: [commitOf(top)] });
  await server.put(`/main/nar/${bare(top.narHash)}.nar`, top.nar);
  assert.equal((await errorOf(await commit())).code, 'references-missing');
  await putBehind(server, upstream);
  assert.equal((await commit()).status, 200);
});

test('signed by the cache as well, when asked', async (t) => {
  if (skips(t)) return;
  await using nix = await Nix.create();
  await using upstream = await UpstreamCache.start(nix, 'signed');
  await using server = await TestServer.start({ toml: ON_THIS_MACHINE });
  await putBehind(server, upstream, { signUpstream: true });
  const [path = ''] = upstream.paths;
  const ask = async () => (await server.fetch(`/main/${hashPartOf(path)}.narinfo`)).text();
  const first = await ask();
  for (const key of ['main-1', 'upstream-1']) assert.match(first, new RegExp(`^Sig: ${key}:`, 'm'));
  const [, url = ''] = /^URL: (.*)$/m.exec(first) ?? [];
  await (await server.fetch(`/main/${url}`)).arrayBuffer();
  const second = await ask();
  for (const key of ['main-1', 'upstream-1']) assert.match(second, new RegExp(`^Sig: ${key}:`, 'm'));
});
