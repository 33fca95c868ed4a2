import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBase32, parseBase32 } from '@larder/signing/base32';
import { computeDerivationPath, formatDerivation, parseDerivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import { parseHash } from '@larder/signing/hash';
import { PublicKey, SecretKey } from '@larder/signing/key';
import { parseNarListing } from '@larder/signing/nar-listing';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { formatRealisation, parseRealisation } from '@larder/signing/realisation';
import { formatSignature, parseSignature } from '@larder/signing/signature';
import { parseStorePath } from '@larder/signing/store-path';
import { signPathInfo, TrustedKeys } from '@larder/signing/trust';
import fc from 'fast-check';
import { defaultStoreDir } from '../store-dir.js';
import { algorithm, derivation, hash, narInfo, realisation, signature, storePath } from './arbitraries.js';

test('base-32 gives back what it took', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      assert.deepEqual(parseBase32(formatBase32(bytes)), bytes);
    }),
  );
});

test('a hash is read from every notation it is written in', () => {
  const notation = fc.constantFrom('nix32', 'base16', 'base64', 'sri');
  fc.assert(
    fc.property(hash, notation, fc.boolean(), (value, as, prefix) => {
      const text = value.format(as as 'nix32', { prefix });
      assert.ok(parseHash(text, value.algorithm).equals(value));
    }),
  );
});

test('a narinfo is read as it was written, and written as it was read', () => {
  fc.assert(
    fc.property(narInfo, (info) => {
      const text = formatNarInfo(info, defaultStoreDir);
      const parsed = parseNarInfo(text, defaultStoreDir);
      assert.equal(formatNarInfo(parsed, defaultStoreDir), text);
      assert.deepEqual(stripUndefined(parsed), stripUndefined(info));
    }),
  );
});

test('a derivation is read as it was written, and its path does not depend on the order of its parts', () => {
  fc.assert(
    fc.property(derivation, (value) => {
      const text = formatDerivation(value, defaultStoreDir);
      const path = computeDerivationPath(value, defaultStoreDir);
      const parsed = parseDerivation(text, path, defaultStoreDir);
      assert.deepEqual(parsed, value);
      assert.equal(formatDerivation(parsed, defaultStoreDir), text);
      const shuffled = { ...value, env: new Map([...value.env].reverse()) };
      assert.equal(computeDerivationPath(shuffled, defaultStoreDir), path);
    }),
  );
});

test('a realisation is read as it was written', () => {
  fc.assert(
    fc.property(realisation, (value) => {
      assert.deepEqual(parseRealisation(formatRealisation(value)), value);
    }),
  );
});

test('signatures and store paths are read as they were written', () => {
  fc.assert(
    fc.property(signature, storePath, (text, path) => {
      assert.equal(formatSignature(parseSignature(text)), text);
      assert.equal(parseStorePath(path), path);
      assert.equal(defaultStoreDir.parse(defaultStoreDir.format(path)), path);
    }),
  );
});

test('a signed path verifies, and no change of what is signed goes unnoticed', () => {
  const key = SecretKey.generate('property-1');
  const trusted = new TrustedKeys([PublicKey.parse(key.publicKey().format())]);
  fc.assert(
    fc.property(narInfo, narInfo, (info, other) => {
      const signed = signPathInfo(info, [key], defaultStoreDir);
      assert.deepEqual(trusted.verify(signed, defaultStoreDir), ['property-1']);
      for (const field of ['storePath', 'narHash', 'narSize', 'references'] as const) {
        if (`${other[field]}` === `${info[field]}`) continue;
        assert.deepEqual(trusted.verify({ ...signed, [field]: other[field] }, defaultStoreDir), []);
      }
      // The URL, the compression and the deriver are not covered: recompression keeps signatures valid.
      const moved = { ...signed, url: other.url, compression: other.compression, deriver: other.deriver };
      assert.deepEqual(trusted.verify(moved, defaultStoreDir), ['property-1']);
    }),
  );
});

const parsers: Readonly<Record<string, (text: string) => unknown>> = {
  'a hash': (text) => parseHash(text),
  'a store path': (text) => parseStorePath(text),
  'a narinfo': (text) => parseNarInfo(text, defaultStoreDir),
  'a signature': parseSignature,
  'a public key': (text) => PublicKey.parse(text),
  'a secret key': (text) => SecretKey.parse(text),
  'a listing': parseNarListing,
  'a realisation': (text) => parseRealisation(text),
  'a derivation': (text) => parseDerivation(text, parseStorePath(`${'0'.repeat(32)}-x.drv`), defaultStoreDir),
};

const wellFormed = fc.oneof(
  narInfo.map((info) => formatNarInfo(info, defaultStoreDir)),
  derivation.map((value) => formatDerivation(value, defaultStoreDir)),
  realisation.map(formatRealisation),
  hash.map((value) => `${value}`),
  algorithm,
  signature,
  storePath,
  fc.json(),
);

for (const [what, parse] of Object.entries(parsers)) {
  test(`whatever is read as ${what} is read or refused with an error of ours`, () => {
    const at = fc.nat(300);
    const anything = fc
      .tuple(wellFormed, at, at, fc.string({ unit: 'binary', maxLength: 5 }))
      .map(([text, from, count, insert]) => text.slice(0, from) + insert + text.slice(from + count));
    fc.assert(
      fc.property(anything, (text) => {
        try {
          parse(text);
        } catch (error) {
          assert.ok(error instanceof LarderError, `${what}: ${String(error)} is none of ours`);
        }
      }),
      { numRuns: 500 },
    );
  });
}

function stripUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));
}
