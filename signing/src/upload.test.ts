import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from './errors.js';
import {
  narUrl,
  parseCacheDescription,
  parseCommitRequest,
  parseCommitResponse,
  parseErrorBody,
  parseMissingRequest,
} from './upload.js';

const path = {
  storePath: 'sl5vvk8mb4ma1sjyy03kwpvkz50hd22d-source',
  narHash: 'sha256:0000000000000000000000000000000000000000000000000000',
  narSize: 112,
  references: [],
};

test('a commit keeps what it knows and drops what it does not', () => {
  const parsed = parseCommitRequest({ paths: [{ ...path, deriver: null, ca: 'text:…', extra: 1 }] });
  assert.deepEqual(parsed, { paths: [{ ...path, ca: 'text:…' }] });
});

test('every malformed field is named', () => {
  const cases: [() => unknown, string][] = [
    [() => parseMissingRequest([]), 'the request'],
    [() => parseMissingRequest({}), 'paths'],
    [() => parseMissingRequest({ paths: ['a', 1] }), 'paths[1]'],
    [() => parseCommitRequest({ paths: [path, 3] }), 'paths[1]'],
    [() => parseCommitRequest({ paths: [{ ...path, narSize: -1 }] }), 'paths[0].narSize'],
    [() => parseCommitRequest({ paths: [{ ...path, narSize: 2 ** 60 }] }), 'paths[0].narSize'],
    [() => parseCommitRequest({ paths: [{ ...path, signatures: 'a:b' }] }), 'paths[0].signatures'],
    [
      () => parseCommitResponse({ committed: 1, paths: [{ storePath: 'a', status: 'x' }] }),
      'paths[0].status',
    ],
    [() => parseCacheDescription({ name: 'main', public: 1 }), 'public'],
  ];
  for (const [run, field] of cases)
    assert.throws(run, (error) => hasCode(error, 'upload-malformed') && error.fields.field === field);
});

test('a batch beyond the limit is refused', () => {
  const paths = new Array<string>(100_001).fill('a');
  assert.throws(() => parseMissingRequest({ paths }), /at most 100000/);
});

test('an error body is told from a proxy page', () => {
  assert.deepEqual(parseErrorBody({ error: { code: 'x', message: 'y', missing: [] } }), {
    code: 'x',
    message: 'y',
    missing: [],
  });
  for (const other of [undefined, null, '<html>', {}, { error: 'no' }, { error: { code: 1, message: 'm' } }])
    assert.equal(parseErrorBody(other), undefined);
});

test('URLs escape what a name could carry', () => {
  assert.equal(
    narUrl('http://h:1', 'main', { narHash: 'abc', narSize: 5, compression: 'zstd' }),
    'http://h:1/api/v1/caches/main/nars/abc?compression=zstd&narSize=5',
  );
});
