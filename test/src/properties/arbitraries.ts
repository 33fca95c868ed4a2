import { formatBase32 } from '@larder/signing/base32';
import type { ContentAddress } from '@larder/signing/content-address';
import type { Derivation, DerivationOutput } from '@larder/signing/derivation';
import { Hash, type HashAlgorithm, hashAlgorithms, hashSize } from '@larder/signing/hash';
import type { NarInfo } from '@larder/signing/narinfo';
import type { Realisation } from '@larder/signing/realisation';
import { isStoreName, parseStorePath, type StorePath } from '@larder/signing/store-path';
import fc from 'fast-check';

const nameCharacters = [...'0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?='];

/** Objects as literals make them: with a prototype. */
function record<Type extends object>(
  model: {
    readonly [Key in keyof Type]: fc.Arbitrary<Type[Key]>;
  },
): fc.Arbitrary<Type> {
  return fc.record<Type>(model, { noNullPrototype: true }) as fc.Arbitrary<Type>;
}

const bytes = (size: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: size, maxLength: size });

export const storeName: fc.Arbitrary<string> = fc
  .string({ unit: fc.constantFrom(...nameCharacters), minLength: 1, maxLength: 40 })
  .filter(isStoreName);

export const storePath: fc.Arbitrary<StorePath> = fc
  .tuple(bytes(20), storeName)
  .map(([hash, name]) => parseStorePath(`${formatBase32(hash)}-${name}`));

const storePaths = fc
  .uniqueArray(storePath, { maxLength: 5 })
  .map((paths): readonly StorePath[] => [...paths].sort());

export const algorithm: fc.Arbitrary<HashAlgorithm> = fc.constantFrom(...hashAlgorithms);

export const hash: fc.Arbitrary<Hash> = algorithm.chain(hashOf);

function hashOf(of: HashAlgorithm): fc.Arbitrary<Hash> {
  return bytes(hashSize(of)).map((digest) => new Hash(of, digest));
}

const sha256 = hashOf('sha256');

const contentAddress: fc.Arbitrary<ContentAddress> = fc.oneof(
  record({ method: fc.constant('text' as const), hash: sha256 }),
  record({ method: fc.constantFrom('flat' as const, 'recursive' as const), hash }),
);

export const signature: fc.Arbitrary<string> = fc
  .tuple(fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}$/), bytes(64))
  .map(([name, digest]) => `${name}:${Buffer.from(digest).toString('base64')}`);

const signatures = fc.uniqueArray(signature, { maxLength: 3 }).map((each): readonly string[] => each);

const size = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

export const narInfo: fc.Arbitrary<NarInfo> = fc.record(
  {
    storePath,
    url: fc.webPath().map((path) => `nar${path}x.nar`),
    compression: fc.constantFrom('none', 'xz', 'zstd', 'bzip2', 'br', 'something-new'),
    fileHash: sha256,
    fileSize: size,
    narHash: sha256,
    narSize: size,
    references: storePaths,
    deriver: storePath,
    system: fc.constantFrom('x86_64-linux', 'aarch64-darwin'),
    signatures,
    ca: contentAddress,
  },
  {
    noNullPrototype: true,
    requiredKeys: ['storePath', 'url', 'compression', 'narHash', 'narSize', 'references', 'signatures'],
  },
);

export const realisation: fc.Arbitrary<Realisation> = record({
  id: fc
    .tuple(sha256, fc.stringMatching(/^[a-z]{1,8}$/))
    .map(([drv, output]) => `${drv.format('base16')}!${output}`),
  outPath: storePath,
  signatures: signatures.map((each) => [...each].sort()),
  dependentRealisations: fc.constant({}),
});

const output: fc.Arbitrary<DerivationOutput> = fc.oneof(
  record({ type: fc.constant('input-addressed' as const), path: storePath }),
  record({
    type: fc.constant('floating' as const),
    method: fc.constantFrom('flat' as const, 'recursive' as const),
    algorithm,
  }),
  record({ type: fc.constant('deferred' as const) }),
);

const text = fc.string({ unit: 'grapheme', maxLength: 30 });
const outputName = fc.stringMatching(/^[a-z]{1,6}$/);

export const derivation: fc.Arbitrary<Derivation> = record({
  name: storeName.filter((name) => !name.endsWith('.drv') && name.length < 30),
  outputs: fc.array(fc.tuple(outputName, output), { minLength: 1, maxLength: 3 }).map(toMap),
  inputDerivations: fc
    .array(fc.tuple(storePath, fc.uniqueArray(outputName, { minLength: 1 }).map(toSet)), { maxLength: 3 })
    .map(toMap),
  inputSources: storePaths.map((paths) => new Set(paths)),
  system: text,
  builder: text,
  args: fc.array(text, { maxLength: 4 }),
  env: fc.array(fc.tuple(text, text), { maxLength: 5 }).map(toMap),
});

function toMap<Key extends string, Value>(
  entries: readonly (readonly [Key, Value])[],
): ReadonlyMap<Key, Value> {
  return new Map(entries);
}

function toSet<Value extends string>(values: readonly Value[]): ReadonlySet<Value> {
  return new Set(values);
}

/** A tree of files in memory; names are what a directory entry may be called. */
export type Tree =
  | { readonly type: 'file'; readonly executable: boolean; readonly contents: Uint8Array }
  | { readonly type: 'link'; readonly target: string }
  | { readonly type: 'directory'; readonly entries: Readonly<Record<string, Tree>> };

const entryName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .filter((name) => !/[/\0]/.test(name) && name !== '.' && name !== '..' && !/[\ud800-\udfff]/.test(name))
  .filter((name) => Buffer.byteLength(name) < 200);

export const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    record({
      type: fc.constant('file' as const),
      executable: fc.boolean(),
      contents: fc.uint8Array({ maxLength: 200 }),
    }),
    record({ type: fc.constant('link' as const), target: fc.stringMatching(/^[a-z./]{1,40}$/) }),
    record({
      type: fc.constant('directory' as const),
      entries: fc.dictionary(entryName, tie('tree'), { maxKeys: 4, noNullPrototype: true }),
    }),
  ),
})).tree;
