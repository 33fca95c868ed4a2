import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessHeaders, parseAccessTokens } from './access-tokens.js';

const tokens = parseAccessTokens(
  'github.com=wide github.com/owner=narrow gitlab.com=PAT:p:q gitlab.org=OAuth2:o gitlab.net=bare git.sr.ht=s =none word',
);

test('a token is for a host, or for what is below a place there', () => {
  const header = (type: string, host: string, owner: string) =>
    accessHeaders({ type, owner, repo: 'repo' }, host, tokens).authorization;
  assert.equal(header('github', 'github.com', 'other'), 'token wide');
  assert.equal(header('github', 'github.com', 'owner'), 'token narrow');
  assert.equal(header('github', 'github.com', 'owner2'), 'token wide');
  assert.equal(header('github', 'github.com.example.org', 'owner'), undefined);
});

test('each forge takes tokens in its own way', () => {
  const headers = (type: string, host: string) =>
    accessHeaders({ type, owner: 'a', repo: 'b' }, host, tokens);
  assert.deepEqual(headers('gitlab', 'gitlab.com'), { authorization: 'Bearer p:q' });
  assert.deepEqual(headers('gitlab', 'gitlab.org'), { authorization: 'Bearer o' });
  assert.deepEqual(headers('gitlab', 'gitlab.net'), {}, 'GitLab must know what kind of token it is');
  assert.deepEqual(headers('sourcehut', 'git.sr.ht'), { authorization: 'Bearer s' });
});
