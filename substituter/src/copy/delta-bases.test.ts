import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { formatBase32 } from '@larder/signing/base32';
import { computeHash } from '@larder/signing/hash';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { parseStorePath, storePathName } from '@larder/signing/store-path';
import { findDeltaBases } from './delta-bases.js';

function info(name: string, release: string, references: readonly ValidPathInfo[] = []): ValidPathInfo {
  const digest = createHash('sha1').update(`${release} ${name}`).digest();
  return {
    storePath: parseStorePath(`${formatBase32(digest)}-${name}`),
    narHash: computeHash('sha256', `${release} ${name}`),
    narSize: 1000,
    references: references.map(({ storePath }) => storePath),
    signatures: [],
    registrationTime: 1,
  };
}

function storeOf(paths: readonly ValidPathInfo[]) {
  const known = new Map(paths.map((path) => [path.storePath, path]));
  return {
    queryAllValidPaths: async () => [...known.keys()],
    queryPathInfo: async (path: ValidPathInfo['storePath']) => known.get(path),
    queryClosure: async () => paths,
  };
}

test('in a family of many the very same name is found, and named alone', async () => {
  const names = Array.from({ length: 200 }, (_, number) => `unit-${number}`);
  const [old, fresh] = ['old', 'fresh'].map((release) => {
    const units = names.map((name) => info(name, release));
    return [...units, info('system-1', release, units)];
  });
  const bases = await findDeltaBases(fresh!, storeOf(old!));
  for (const { storePath } of fresh!) {
    const found = (bases.get(storePath) ?? []).map((base) => storePathName(base.storePath));
    assert.deepEqual(found, [storePathName(storePath)]);
  }
});

test('other versions are named too where it is not certain which', async () => {
  const old = [info('openssl-3.0.1', 'old'), info('openssl-3.0.2', 'old'), info('curl-8', 'old')];
  const fresh = info('openssl-3.0.3', 'fresh');
  const found = (await findDeltaBases([fresh], storeOf(old))).get(fresh.storePath) ?? [];
  assert.deepEqual(found.map((base) => storePathName(base.storePath)).sort(), [
    'openssl-3.0.1',
    'openssl-3.0.2',
  ]);
});
