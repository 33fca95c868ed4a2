import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Oidc } from '@larder/cache-server/auth/oidc';
import { formatFingerprint } from '@larder/signing/fingerprint';
import { SecretKey } from '@larder/signing/key';
import { defaultStoreDir } from '../../store-dir.js';
import { TestServer } from '../running.js';
import { bare, narInfoOf, type SamplePath, samplePath } from '../sample-path.js';
import { TokenIssuer } from '../token-issuer.js';

/** A server on one of the machine's own addresses, that notes who asks it for what. */
class Listener implements AsyncDisposable {
  readonly asked: { readonly url: string; readonly headers: Readonly<Record<string, unknown>> }[] = [];
  readonly #server;
  readonly #host: string;

  private constructor(host: string, answer: RequestListener) {
    this.#host = host;
    this.#server = createServer((incoming, outgoing) => {
      this.asked.push({ url: incoming.url ?? '', headers: incoming.headers });
      answer(incoming, outgoing);
    });
  }

  static async start(host: string, answer: RequestListener): Promise<Listener> {
    const listener = new Listener(host, answer);
    await new Promise<void>((resolve) => listener.#server.listen(0, host, resolve));
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://${this.#host}:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const key = SecretKey.generate('upstream-1');
const publicKeys = [key.publicKey().format()];

/** A narinfo that an upstream would sign, but with a URL of somebody else's choice. */
function narInfo(path: SamplePath, url: string): string {
  const info = { storePath: path.storePath, narHash: path.narHash, narSize: path.nar.length, references: [] };
  return narInfoOf(path, {
    URL: url,
    Compression: 'none',
    Sig: key.sign(formatFingerprint(info, defaultStoreDir)),
  });
}

async function putBehind(server: TestServer, url: string): Promise<void> {
  const body = JSON.stringify({ upstreams: [{ url, publicKeys }] });
  const answer = await server.fetch('/api/v1/caches/main', { method: 'PATCH', body });
  assert.equal(answer.status, 200, await answer.text());
}

async function statusOf(server: TestServer, path: string): Promise<number> {
  const answer = await fetch(`${server.url}${path}`);
  await answer.arrayBuffer();
  return answer.status;
}

test('an upstream on an address of the inside is not connected to, by whatever name', async () => {
  await using server = await TestServer.start();
  await using inside = await Listener.start('127.0.0.1', (_, outgoing) => outgoing.end('secret'));
  const { port } = inside;
  for (const [index, host] of [
    '127.0.0.1',
    'localhost',
    '[::ffff:127.0.0.1]',
    '0.0.0.0',
    '127.1',
    '2130706433',
    '0x7f000001',
    '017700000001',
  ].entries()) {
    await putBehind(server, `http://${host}:${port}`);
    const { hashPart } = samplePath(`inside-${index}`);
    assert.equal(await statusOf(server, `/main/${hashPart}.narinfo`), 404, host);
  }
  assert.deepEqual(inside.asked, []);
});

test('what the operator lists is reached, and what it redirects to only if that may be', async () => {
  await using inside = await Listener.start('127.0.0.2', (_, outgoing) => outgoing.end('secret'));
  let answer: RequestListener = (_, outgoing) => outgoing.end();
  await using upstream = await Listener.start('127.0.0.1', (...exchange) => answer(...exchange));
  await using server = await TestServer.start({
    toml: '[upstreams]\nallow_private = ["127.0.0.1"]\nnegative = "0 s"\n',
  });
  await putBehind(server, upstream.url.replace('//', '//user:password@'));
  const sound = samplePath('sound');
  // To itself, it may.
  answer = (incoming, outgoing) => {
    if (incoming.url?.startsWith('/moved')) return void outgoing.end(narInfo(sound, 'nar/x.nar'));
    return void outgoing.writeHead(302, { location: `/moved${incoming.url}` }).end();
  };
  assert.equal(await statusOf(server, `/main/${sound.hashPart}.narinfo`), 200);
  for (const { headers } of upstream.asked) assert.equal(headers.authorization, undefined);
  // It found its narinfo; its NAR is elsewhere.
  const places = [
    `${inside.url}/latest/meta-data`,
    `http://localhost.:${inside.port}/`,
    `http://[::ffff:127.0.0.2]:${inside.port}/`,
    'http://169.254.169.254/latest/meta-data/',
    'http://10.0.0.1/',
    'http://[::1]/',
    'file:///etc/passwd',
    'ftp://127.0.0.1/',
    'gopher://127.0.0.1:70/',
    'data:text/plain,x',
  ];
  for (const [index, location] of places.entries()) {
    const path = samplePath(`redirected-${index}`);
    answer = (_, outgoing) => void outgoing.writeHead(302, { location }).end();
    assert.equal(await statusOf(server, `/main/${path.hashPart}.narinfo`), 404, location);
    // As the URL of a NAR, it is refused when the NAR is asked for.
    answer = (_, outgoing) => void outgoing.end(narInfo(path, location));
    assert.equal(await statusOf(server, `/main/${path.hashPart}.narinfo`), 200, location);
    const nar = await statusOf(server, `/main/nar/${bare(path.narHash)}.nar.zst`);
    assert.equal(nar, 503, location);
  }
  assert.deepEqual(inside.asked, []);
});

test('redirects have an end', async () => {
  let count = 0;
  await using upstream = await Listener.start('127.0.0.1', (_, outgoing) => {
    outgoing.writeHead(302, { location: `/${++count}` }).end();
  });
  await using server = await TestServer.start({ toml: '[upstreams]\nallow_private = ["127.0.0.0/8"]\n' });
  await putBehind(server, upstream.url);
  assert.equal(await statusOf(server, `/main/${samplePath('loop').hashPart}.narinfo`), 404);
  assert.equal(upstream.asked.length, 6);
});

test("an issuer's document sends us to no other address of the inside", async () => {
  await using inside = await Listener.start('127.0.0.2', (_, outgoing) => outgoing.end('{"keys":[]}'));
  await using keys = await TokenIssuer.start();
  const rules = [{ claims: { sub: ['*'] }, caches: ['*'], scopes: ['pull' as const] }];
  for (const jwks of [
    `${inside.url}/keys`,
    'http://169.254.169.254/',
    'file:///etc/passwd',
    'data:text/plain,{}',
  ]) {
    await using issuer = await Listener.start('127.0.0.1', (_, outgoing) => {
      outgoing.end(JSON.stringify({ issuer: issuer.url, jwks_uri: jwks }));
    });
    const oidc = new Oidc([{ issuer: issuer.url, audience: 'x', rules }]);
    const token = await keys.sign({ iss: issuer.url, aud: 'x' });
    await assert.rejects(oidc.identify(token), { code: 'issuer-failed' }, jwks);
  }
  assert.deepEqual(inside.asked, []);
});
