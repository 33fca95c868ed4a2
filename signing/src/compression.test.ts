import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COMPRESSIONS,
  compressionExtension,
  compressionOfUrl,
  parseCompression,
  sniffCompression,
} from './compression.js';
import { hasCode } from './errors.js';

test('labels read as Nix reads them: without one it is bzip2', () => {
  assert.equal(parseCompression(undefined), 'bzip2');
  assert.equal(parseCompression(''), 'bzip2');
  for (const label of COMPRESSIONS) assert.equal(parseCompression(label), label);
});

test('an unknown label is an error that names it and the known ones', () => {
  for (const label of ['rar', 'XZ', 'toString', ' xz']) {
    assert.throws(
      () => parseCompression(label),
      (error) => hasCode(error, 'compression-unknown') && error.message.includes(JSON.stringify(label)),
    );
  }
});

test('URLs tell their compression by their ending', () => {
  for (const compression of COMPRESSIONS) {
    const url = `nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar${compressionExtension(compression)}`;
    assert.equal(compressionOfUrl(url), compression);
    assert.equal(compressionOfUrl(`https://cache.example.org/${url}?token=a.xz#b`), compression);
  }
});

test('first bytes tell the formats that bear a mark', () => {
  assert.equal(sniffCompression(Buffer.from('\x0d\0\0\0\0\0\0\0nix-archive-1')), 'none');
  assert.equal(sniffCompression(Buffer.from('28b52ffd00', 'hex')), 'zstd');
  assert.equal(sniffCompression(Buffer.from('BZh91AY')), 'bzip2');
  assert.equal(sniffCompression(Buffer.from('BZ')), undefined);
  assert.equal(sniffCompression(Buffer.from('text')), undefined);
});
