import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCredentials } from './access.js';
import { allows, generateToken, hashToken, type Scope, type Token } from './token.js';

function token(caches: string[], scopes: Scope[]): Token {
  return { id: 1, name: 'test', caches, scopes: new Set(scopes) };
}

test('patterns of caches match whole names', () => {
  const cases: [pattern: string, name: string, expected: boolean][] = [
    ['main', 'main', true],
    ['main', 'main2', false],
    ['*', 'anything', true],
    ['team-*', 'team-a', true],
    ['team-*', 'team', false],
    ['team-*', 'xteam-a', false],
    ['*-dev', 'a-dev', true],
    ['*-dev', 'a-dev2', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['', 'main', false],
  ];
  for (const [pattern, name, expected] of cases)
    assert.equal(allows(token([pattern], ['pull']), 'pull', name), expected, `${pattern} on ${name}`);
});

test('a scope grants itself only, admin grants all', () => {
  assert.equal(allows(token(['*'], ['push']), 'pull', 'main'), false);
  assert.equal(allows(token(['*'], ['push']), 'push', 'main'), true);
  assert.equal(allows(token(['main'], ['admin']), 'delete', 'main'), true);
  assert.equal(allows(token(['main'], ['admin']), 'delete', 'other'), false);
});

test('credentials come as Bearer or as the password of Basic', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  assert.equal(readCredentials('Bearer abc'), 'abc');
  assert.equal(readCredentials('bearer  abc '), 'abc');
  assert.equal(readCredentials(basic('user:a:b')), 'a:b');
  assert.equal(readCredentials(basic(':abc')), 'abc');
  for (const bad of [undefined, '', 'abc', 'Digest abc', 'Bearer', basic('user'), basic('user:')])
    assert.equal(readCredentials(bad), undefined);
});

test('tokens are long, new each time, and known by a hash', () => {
  assert.match(generateToken(), /^larder_[\w-]{43}$/);
  assert.notEqual(generateToken(), generateToken());
  assert.match(hashToken('x'), /^[0-9a-f]{64}$/);
});
