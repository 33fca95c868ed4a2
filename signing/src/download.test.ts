import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, cut } from './codec-sample.js';
import { formatNarInfosEnd, formatNarInfosRequest, parseNarInfos, parseNarInfosRequest } from './download.js';
import { hasCode } from './errors.js';

const hashPart = 'sl5vvk8mb4ma1sjyy03kwpvkz50hd22d';

test('a request comes out as it went in, and says which field is wrong', () => {
  const request = { hashParts: [hashPart], have: new Set(['sl5vvk8m', '00000000']) };
  assert.deepEqual(parseNarInfosRequest(JSON.parse(formatNarInfosRequest(request))), request);
  assert.deepEqual(parseNarInfosRequest({ hashParts: [] }).have, new Set());
  for (const [value, field] of [
    [{ hashParts: ['x'] }, 'hashParts[0]'],
    [{ hashParts: [], have: '123' }, 'have'],
    [{}, 'hashParts'],
  ] as const)
    assert.throws(() => parseNarInfosRequest(value), hasField(field));
});

function hasField(field: string) {
  return (error: unknown) => hasCode(error, 'upload-malformed') && error.fields.field === field;
}

test('narinfos are told apart wherever chunks are cut, and an answer that broke off is noticed', async () => {
  const texts = ['StorePath: /nix/store/é\nURL: x\n', 'StorePath: b\n'];
  const whole = Buffer.from(texts.map((text) => `${text}\n`).join('') + formatNarInfosEnd(2));
  const read = async (bytes: Uint8Array, size: number): Promise<string[]> => {
    const found: string[] = [];
    for await (const text of parseNarInfos(cut(bytes, [size]))) found.push(text);
    return found;
  };
  for (const size of [1, 7, 1000]) assert.deepEqual(await read(whole, size), texts);
  assert.deepEqual(await read(Buffer.from(formatNarInfosEnd(0)), 100), []);
  for (const length of [0, 10, whole.length - 1])
    await assert.rejects(read(whole.subarray(0, length), 100), (error) =>
      hasCode(error, 'narinfo-malformed'),
    );
  assert.equal((await collect(cut(whole))).length, whole.length);
});
