import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { formatBase32, parseBase32 } from './base32.js';
import { formatCacheInfo, parseCacheInfo } from './cache-info.js';
import { makeContentAddressedPath, parseContentAddress } from './content-address.js';
import { formatFingerprint } from './fingerprint.js';
import { computeHash, hashAlgorithms, parseHash } from './hash.js';
import { PublicKey, SecretKey } from './key.js';
import { formatNarInfo, parseNarInfo } from './narinfo.js';
import { sortByReferences } from './path-info.js';
import { ReferenceScanner } from './references.js';
import { parseSignature } from './signature.js';
import { parseStorePath, StoreDir } from './store-path.js';
import { checkTrust, signPathInfo, TrustedKeys } from './trust.js';

const store = new StoreDir('/nix/store');

test('base-32 round trips, and has the length Nix gives', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      assert.deepEqual(Buffer.from(parseBase32(formatBase32(bytes))), Buffer.from(bytes));
    }),
  );
});

test('base-32 refuses letters outside its alphabet and stray bits', () => {
  assert.throws(() => parseBase32('e0'), { code: 'base32-malformed' });
  assert.throws(() => parseBase32('z' + '0'.repeat(51)), { code: 'base32-malformed' });
});

test('every notation of a hash is read back', () => {
  for (const algorithm of hashAlgorithms) {
    const hash = computeHash(algorithm, 'larder');
    assert.equal(
      hash.format('base16', { prefix: false }),
      createHash(algorithm).update('larder').digest('hex'),
    );
    for (const notation of ['nix32', 'base16', 'base64', 'sri'] as const) {
      assert.ok(parseHash(hash.format(notation)).equals(hash));
      if (notation !== 'sri')
        assert.ok(parseHash(hash.format(notation, { prefix: false }), algorithm).equals(hash));
    }
  }
});

for (const text of [
  '',
  'sha256:',
  'sha256:zz',
  'sha3:abc',
  'abc',
  'sha256-AAAA',
  `sha256:${'e'.repeat(52)}`,
  `md5:${'g'.repeat(32)}`,
]) {
  test(`refuses '${text}' as a hash`, () => {
    assert.throws(() => parseHash(text), { code: 'hash-malformed' });
  });
}

for (const [name, why] of [
  ['', /empty/],
  ['.', /'\.'/],
  ['..-x', /'\.'/],
  ['a b', /character other/],
  ['a/b', /inside a store object/],
  ['x'.repeat(212), /longer/],
] as const) {
  test(`refuses '${name.slice(0, 12)}' as a store path's name`, () => {
    assert.throws(() => store.parse(`/nix/store/${'0'.repeat(32)}-${name}`), why);
  });
}

test('accepts the names Nix accepts', () => {
  for (const name of ['.a', '..a', '...', '.-'.repeat(0) + 'a+b=c?d_e.f', 'x'.repeat(211)]) {
    assert.equal(parseStorePath(`${'0'.repeat(32)}-${name}`).length, 33 + name.length);
  }
});

test('a store directory must be canonical', () => {
  for (const path of ['', '/', 'nix/store', '/nix/store/', '/nix//store', '/nix/../store']) {
    assert.throws(() => new StoreDir(path), { code: 'store-dir-malformed' });
  }
});

const a = parseStorePath(`${'a'.repeat(32)}-a`);
const b = parseStorePath(`${'b'.repeat(32)}-b`);
const info = {
  storePath: b,
  url: 'nar/x.nar.zst',
  compression: 'zstd',
  fileHash: computeHash('sha256', 'file'),
  fileSize: 10,
  narHash: computeHash('sha256', 'nar'),
  narSize: 20,
  references: [a, b],
  deriver: parseStorePath(`${'c'.repeat(32)}-b.drv`),
  signatures: [],
};

test('a narinfo round trips', () => {
  const text = formatNarInfo(info, store);
  assert.deepEqual(parseNarInfo(text, store), { ...info });
  assert.match(formatNarInfo({ ...info, references: [] }, store), /^References: $/m);
});

for (const [what, change, message] of [
  ['no final newline', (text: string) => text.trimEnd(), /does not end/],
  ['a line without colon', (text: string) => `${text}nonsense\n`, /no colon/],
  ['no StorePath', (text: string) => text.replace(/^StorePath.*\n/m, ''), /StorePath is missing/],
  ['no URL', (text: string) => text.replace(/^URL.*\n/m, ''), /URL is missing/],
  ['no NarHash', (text: string) => text.replace(/^NarHash.*\n/m, ''), /NarHash is missing/],
  ['a zero NarSize', (text: string) => text.replace(/^NarSize.*$/m, 'NarSize: 0'), /NarSize/],
  ['a bad NarSize', (text: string) => text.replace(/^NarSize.*$/m, 'NarSize: 1e3'), /NarSize: '1e3'/],
  ['an empty Deriver', (text: string) => text.replace(/^Deriver.*$/m, 'Deriver: '), /Deriver/],
  ['repeated References', (text: string) => `${text}References: ${a}\n`, /repeated/],
  ['a malformed signature', (text: string) => `${text}Sig: nothing\n`, /Sig:/],
  ['a path elsewhere', (text: string) => text.replaceAll('/nix/store', '/gnu/store'), /not in \/nix\/store/],
  [
    'a full path among the references',
    (text: string) => text.replace(`References: ${a}`, `References: /nix/store/${a}`),
    /References/,
  ],
] as const) {
  test(`refuses a narinfo with ${what}`, () => {
    assert.throws(
      () => parseNarInfo(change(formatNarInfo(info, store)), store, 'test.narinfo'),
      (error: Error) => {
        assert.match(error.message, message);
        assert.match(error.message, /test\.narinfo/);
        return true;
      },
    );
  });
}

test('a narinfo that says nothing of compression is bzip2; unknown keys and derivers are ignored', () => {
  const text = formatNarInfo(info, store)
    .replace(/^Compression.*\n/m, '')
    .replace(/^Deriver.*$/m, 'Deriver: unknown-deriver');
  const parsed = parseNarInfo(`${text}Future: field\n`, store);
  assert.equal(parsed.compression, 'bzip2');
  assert.equal(parsed.deriver, undefined);
});

test('signatures by node:crypto and tweetnacl are the same', () => {
  const key = SecretKey.generate('test-1');
  const secret = Buffer.from(key.format().split(':')[1]!, 'base64');
  const text = formatFingerprint(info, store);
  const signature = parseSignature(key.sign(text));
  assert.deepEqual(Buffer.from(nacl.sign.detached(Buffer.from(text), secret)), Buffer.from(signature.bytes));
  assert.ok(PublicKey.parse(key.publicKey().format()).verify(text, signature));
  assert.ok(!key.publicKey().verify(`${text}x`, signature));
  assert.equal(SecretKey.parse(`${key.format()}\n`).format(), key.format());
});

for (const [what, text] of [
  ['no name', ':AAAA'],
  ['no colon', 'AAAA'],
  ['no base-64', 'key:!!!'],
  ['too few bytes', 'key:AAAA'],
  ['halves of two keys', `key:${Buffer.concat([randomBytes(64)]).toString('base64')}`],
] as const) {
  test(`refuses a secret key with ${what}`, () => {
    assert.throws(() => SecretKey.parse(text), { code: 'key-malformed' });
  });
}

test('a secret key is not taken for a public one', () => {
  assert.throws(() => PublicKey.parse(SecretKey.generate('k').format()), /looks like a secret key/);
});

test('trust needs one trusted signature', () => {
  const key = SecretKey.generate('good-1');
  const trusted = new TrustedKeys([key.publicKey()]);
  const options = { storeDir: store, trusted, requireSignatures: true, source: 'https://cache' };
  const signed = signPathInfo(info, [key], store);
  assert.equal(checkTrust(signed, options), 'signed');
  assert.equal(checkTrust(info, { ...options, requireSignatures: false }), 'not-required');
  assert.throws(() => checkTrust(info, options), /no signature/);
  assert.throws(() => checkTrust({ ...signed, narSize: 21 }, options), /signature by good-1 does not verify/);
  const other = signPathInfo(info, [SecretKey.generate('other-1')], store);
  assert.throws(
    () => checkTrust(other, options),
    /signed by other-1, which is not trusted; trusted keys: good-1/,
  );
});

test('a content-addressed path needs no signature, and only for its own contents', () => {
  const ca = parseContentAddress(`fixed:r:${computeHash('sha256', 'nar')}`);
  const path = makeContentAddressedPath(store, 'src', { ...ca, references: [a] });
  const options = { storeDir: store, trusted: new TrustedKeys([]), requireSignatures: true, source: 'x' };
  const own = { ...info, storePath: path, references: [a], ca };
  assert.equal(checkTrust(own, options), 'content-addressed');
  assert.throws(() => checkTrust({ ...own, references: [] }, options), { code: 'signature-untrusted' });
});

test('references come first', () => {
  const first = { ...info, storePath: a, references: [] };
  assert.deepEqual(
    sortByReferences([info, first]).map((each) => each.storePath),
    [a, b],
  );
});

test('finds references wherever chunks are cut', () => {
  const hash = 'sl2r8q4ph4q1z5m2b7pmxzyfl7bhvg3x';
  const other = '00000000000000000000000000000000';
  const data = Buffer.from(`${'0'.repeat(40)} xx/nix/store/${hash}-name ${'z'.repeat(100)}`);
  for (let size = 1; size <= data.length; size++) {
    const scanner = new ReferenceScanner([hash, other, 'y'.repeat(32)]);
    for (let at = 0; at < data.length; at += size) scanner.write(data.subarray(at, at + size));
    assert.deepEqual([...scanner.found()].sort(), [other, hash]);
  }
});

test('nix-cache-info', () => {
  assert.deepEqual(
    parseCacheInfo(formatCacheInfo({ storeDir: '/nix/store', wantMassQuery: true, priority: 30 })),
    {
      storeDir: '/nix/store',
      wantMassQuery: true,
      priority: 30,
    },
  );
  assert.throws(() => parseCacheInfo('Priority: soon\n'), { code: 'cache-info-malformed' });
});
