import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Oidc } from '@larder/cache-server/auth/oidc';
import { hasCode } from '@larder/signing/errors';
import { Larder } from '../larder/larder.js';
import { errorOf, TestServer } from './running.js';
import { TokenIssuer } from './token-issuer.js';

const AUDIENCE = 'https://cache.example.org';

function configuration(issuer: TokenIssuer): string {
  return `
    [[oidc.issuers]]
    issuer = "${issuer.url}"
    audience = "${AUDIENCE}"
    [[oidc.issuers.rules]]
    claims = { repository = "example/*", ref = ["refs/heads/main", "refs/tags/*"] }
    caches = ["main"]
    scopes = ["pull", "push"]
    [[oidc.issuers.rules]]
    claims = { repository = "example/*" }
    caches = ["*"]
    scopes = ["pull"]
  `;
}

const trusted = { aud: AUDIENCE, repository: 'example/app', ref: 'refs/heads/main' };

test('an ID token is good for what the first matching rule says', async () => {
  await using issuer = await TokenIssuer.start();
  await using server = await TestServer.start({ toml: configuration(issuer) });
  await server.addCache({ name: 'secret', public: false });
  const put = async (claims: object) => {
    const authorization = `Bearer ${await issuer.sign({ ...trusted, ...claims })}`;
    const answer = await server.put('/main/nix-cache-info', 'x', { authorization });
    await answer.arrayBuffer();
    return answer.status;
  };
  assert.equal(await put({}), 204);
  assert.equal(await put({ ref: 'refs/tags/v1' }), 204);
  assert.equal(await put({ ref: 'refs/heads/feature' }), 403, 'the second rule: pull only');
  assert.equal(await put({ repository: 'elsewhere/app' }), 401, 'no rule');
  assert.equal(await put({ repository: ['elsewhere/app', 'example/app'] }), 204, 'a claim of several values');

  const basic = Buffer.from(`x:${await issuer.sign({ ...trusted, ref: 'refs/heads/other' })}`).toString(
    'base64',
  );
  const read = await fetch(`${server.url}/secret/nix-cache-info`, {
    headers: { authorization: `Basic ${basic}` },
  });
  assert.equal(read.status, 200, 'as the password of Basic');
  await read.arrayBuffer();
});

test('what is wrong with an ID token refuses it, and says so', async () => {
  await using issuer = await TokenIssuer.start();
  await using stranger = await TokenIssuer.start();
  await using server = await TestServer.start({ toml: configuration(issuer) });
  const now = Math.floor(Date.now() / 1000);
  const [head, body] = (await issuer.sign(trusted)).split('.');
  const unsigned = Buffer.from('{"alg":"none"}').toString('base64url');
  const symmetric = Buffer.from('{"alg":"HS256"}').toString('base64url');
  const mac = createHmac('sha256', 'public key').update(`${symmetric}.${body}`).digest('base64url');
  const cases: [token: string, why: RegExp][] = [
    [await issuer.sign({ ...trusted, aud: 'https://other.example.org' }), /"aud" claim/],
    [await issuer.sign({ ...trusted, exp: now - 120 }), /"exp" claim/],
    [await issuer.sign({ ...trusted, nbf: now + 600 }), /"nbf" claim/],
    [await stranger.sign(trusted), /issuer is not one of those/],
    [await stranger.sign({ ...trusted, iss: issuer.url }), /no applicable key|signature/],
    [`${head}.${body}.AAAA`, /signature/],
    [`${unsigned}.${body}.AAAA`, /alg/],
    [`${symmetric}.${body}.${mac}`, /alg/],
    [`eyJhb.${body}.AAAA`, /malformed|invalid/i],
  ];
  for (const [token, why] of cases) {
    const answer = await server.put('/main/nix-cache-info', 'x', { authorization: `Bearer ${token}` });
    const error = await errorOf(answer);
    assert.equal(error.status, 401, token);
    assert.match(String(error.message), why);
  }
});

test("an issuer's keys are fetched once, and anew when it has others", async () => {
  await using issuer = await TokenIssuer.start();
  const rules = [{ claims: { repository: ['example/*'] }, caches: ['main'], scopes: ['pull' as const] }];
  const oidc = new Oidc([{ issuer: issuer.url, audience: AUDIENCE, rules }], { keysCooldown: 0 });
  for (const repository of ['example/a', 'example/b'])
    await oidc.identify(await issuer.sign({ ...trusted, repository }));
  assert.equal(issuer.keysFetched, 1);
  const old = await issuer.sign({ ...trusted, sub: 'signed with the old key' });
  await issuer.rotate();
  assert.equal((await oidc.identify(await issuer.sign({ ...trusted, sub: 'new' }))).subject, 'new');
  assert.equal(issuer.keysFetched, 2);
  await assert.rejects(oidc.identify(old), (error) => hasCode(error, 'unauthorized'));
});

test('an issuer that is away is no fault of the token', async () => {
  await using issuer = await TokenIssuer.start();
  await using server = await TestServer.start({ toml: configuration(issuer) });
  issuer.failing = true;
  const authorization = `Bearer ${await issuer.sign(trusted)}`;
  const put = () => server.put('/main/nix-cache-info', 'x', { authorization });
  const error = await errorOf(await put());
  assert.deepEqual([error.status, error.code], [503, 'issuer-failed']);
  issuer.failing = false;
  assert.equal((await put()).status, 204);
});

test('larder push --oidc changes the ID token of its job for a token, and uses that', async () => {
  await using issuer = await TokenIssuer.start();
  issuer.jobClaims = { repository: 'example/app', ref: 'refs/heads/main' };
  await using server = await TestServer.start({ toml: configuration(issuer) });
  await using larder = await Larder.create();
  const store = `local?root=${larder.scratch.join('store')}`;
  const path = await larder.run(['store', 'add', '--store', store, import.meta.filename]);
  const push = ['push', '--oidc', `${server.url}/main`, '--store', store, path];
  const github = {
    ACTIONS_ID_TOKEN_REQUEST_URL: issuer.requestUrl,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: issuer.requestToken,
  };
  await larder.run(push, { env: { ...larder.env, ...github } });
  const hashPart = path.slice('/nix/store/'.length).slice(0, 32);
  assert.equal((await fetch(`${server.url}/main/${hashPart}.narinfo`)).status, 200);

  const { tokens } = (await (await server.fetch('/api/v1/tokens')).json()) as {
    tokens: { name: string; scopes: string[]; expiresAt?: string }[];
  };
  const session = tokens.find((token) => token.name === 'repo:example/app');
  assert.deepEqual(session?.scopes, ['pull', 'push']);
  assert.ok(Date.parse(session?.expiresAt ?? '') <= Date.now() + 3_600_000);

  const gitlab = { LARDER_ID_TOKEN: await issuer.sign({ ...trusted, ref: 'refs/tags/1' }) };
  await larder.run(push, { env: { ...larder.env, ...gitlab } });
  const without = await larder.try(push);
  assert.equal(without.status, 1);
  assert.match(without.stderr, /id-token: write/);
});
