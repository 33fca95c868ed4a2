import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '@larder/signing/errors';
import { countParameter, flagParameter, formatStoreUri, parseStoreUri } from './store-uri.js';

test('the forms Nix takes are told apart', () => {
  const kinds = [
    ['', 'auto'],
    ['auto', 'auto'],
    ['local', 'local'],
    ['daemon', 'daemon'],
    ['local?root=/mnt', 'local'],
    ['/mnt', 'local'],
    ['./mnt', 'local'],
    ['file:///srv/cache', 'file'],
    ['http://h:1/main', 'http'],
    ['https://h', 'http'],
    ['s3://bucket?endpoint=h:9', 's3'],
    ['ssh-ng://h', 'ssh-ng'],
  ] as const;
  for (const [text, kind] of kinds) assert.equal(parseStoreUri(text, '/cwd').kind, kind, text);
});

test('a bare path is a store under that root', () => {
  assert.equal(parseStoreUri('./mnt', '/cwd').parameters.get('root'), '/cwd/mnt');
  assert.equal(formatStoreUri(parseStoreUri('/mnt')), 'local?root=/mnt');
});

test('an HTTP cache has a root that names are appended to, and is shown without its login', () => {
  const uri = parseStoreUri('https://me:pw@h/main?priority=7');
  assert.ok(uri.kind === 'http');
  assert.equal(new URL('nar/x', uri.url).pathname, '/main/nar/x');
  assert.equal(uri.url.search, '');
  assert.equal(formatStoreUri(uri), 'https://h/main');
  assert.equal(countParameter(uri, 'priority'), 7);
});

test('a bucket may have a prefix', () => {
  const uri = parseStoreUri('s3://bucket/some/prefix/?region=eu-west-1');
  assert.ok(uri.kind === 's3');
  assert.deepEqual([uri.bucket, uri.prefix], ['bucket', 'some/prefix']);
  assert.equal(formatStoreUri(uri), 's3://bucket/some/prefix');
});

test('another machine has a host, and perhaps a user and a port; nothing that ssh takes for an option', () => {
  for (const [text, host, user, port] of [
    ['ssh-ng://h', 'h', undefined, undefined],
    ['ssh-ng://root@h.example.org:2222', 'h.example.org', 'root', 2222],
    ['ssh-ng://[fe80::1%eth0]:22/', 'fe80::1%eth0', undefined, 22],
    ['ssh-ng://me@[::1]?compress=true', '::1', 'me', undefined],
  ] as const) {
    const uri = parseStoreUri(text);
    assert.ok(uri.kind === 'ssh-ng');
    assert.deepEqual([uri.host, uri.user, uri.port], [host, user, port]);
    assert.equal(formatStoreUri(uri), text.replace(/\/?(\?.*)?$/, ''));
  }
  for (const text of [
    'ssh-ng://',
    'ssh-ng://-oProxyCommand=x',
    'ssh-ng://-x@h',
    'ssh-ng://h:x',
    'ssh-ng://h/p',
    'ssh-ng://h?root=/',
  ])
    assert.throws(
      () => parseStoreUri(text),
      (error) => hasCode(error, 'store-uri-invalid'),
      text,
    );
});

test('parameters are decoded, and flags read as Nix reads them', () => {
  const uri = parseStoreUri('file:///c?secret-key=/a%20b&write-nar-listing=1&trusted=false');
  assert.equal(uri.parameters.get('secret-key'), '/a b');
  assert.equal(flagParameter(uri, 'write-nar-listing'), true);
  assert.equal(flagParameter(uri, 'trusted'), false);
  assert.equal(flagParameter(uri, 'want-mass-query'), undefined);
});

test('what is no store, and parameters that would do nothing, are refused by name', () => {
  for (const text of ['nonsense', 'ftp://h', 's3://', 'http://', 'local?rot=/mnt', 'https://h?region=x']) {
    assert.throws(
      () => parseStoreUri(text),
      (error) => hasCode(error, 'store-uri-invalid'),
      text,
    );
  }
  assert.throws(() => parseStoreUri('local?rot=/mnt'), /"rot".*root/);
  assert.throws(() => countParameter(parseStoreUri('file:///c?priority=x'), 'priority'), /whole number/);
});
