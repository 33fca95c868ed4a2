import * as crypto from 'node:crypto';
import { createHash, type Hash as NodeHash } from 'node:crypto';
import { base32Length, formatBase32, isBase32, parseBase32 } from './base32.js';
import { LarderError } from './errors.js';

export type HashAlgorithm = 'md5' | 'sha1' | 'sha256' | 'sha512';

/** A way to write a digest: Nix base-32, hexadecimal, RFC 4648 base-64, or Subresource Integrity (`sha256-…`). */
export type HashNotation = 'nix32' | 'base16' | 'base64' | 'sri';

const SIZES: Readonly<Record<HashAlgorithm, number>> = { md5: 16, sha1: 20, sha256: 32, sha512: 64 };

export const hashAlgorithms = Object.keys(SIZES) as readonly HashAlgorithm[];

/** How many bytes a digest of this algorithm has. */
export function hashSize(algorithm: HashAlgorithm): number {
  return SIZES[algorithm];
}

/** Whether `text` names an algorithm that Nix stores use. */
export function isHashAlgorithm(text: string): text is HashAlgorithm {
  return Object.hasOwn(SIZES, text);
}

/** A digest and the algorithm that made it. Immutable. */
export class Hash {
  readonly algorithm: HashAlgorithm;
  readonly bytes: Uint8Array;

  /** @throws `hash-malformed` when the bytes are not as many as the algorithm gives. */
  constructor(algorithm: HashAlgorithm, bytes: Uint8Array) {
    if (bytes.length !== SIZES[algorithm]) {
      throw new LarderError(
        'hash-malformed',
        `a ${algorithm} hash has ${SIZES[algorithm]} bytes, these are ${bytes.length}`,
      );
    }
    this.algorithm = algorithm;
    // A copy: digests come as slices of pooled buffers.
    this.bytes = new Uint8Array(bytes);
  }

  /**
   * Writes the digest. `nix32`, `base16` and `base64` carry the algorithm as a prefix (`sha256:…`) unless
   * `prefix` is false; `sri` always carries it.
   */
  format(notation: HashNotation = 'nix32', { prefix = true }: { readonly prefix?: boolean } = {}): string {
    const digest = this.#digest(notation);
    if (notation === 'sri') return `${this.algorithm}-${digest}`;
    return prefix ? `${this.algorithm}:${digest}` : digest;
  }

  /** The canonical form in narinfos and databases of ours: `sha256:<nix32>`. */
  toString(): string {
    return this.format('nix32');
  }

  toJSON(): string {
    return this.format('nix32');
  }

  equals(other: Hash): boolean {
    return this.algorithm === other.algorithm && Buffer.compare(this.bytes, other.bytes) === 0;
  }

  #digest(notation: HashNotation): string {
    switch (notation) {
      case 'nix32':
        return formatBase32(this.bytes);
      case 'base16':
        return Buffer.from(this.bytes).toString('hex');
      case 'base64':
      case 'sri':
        return Buffer.from(this.bytes).toString('base64');
    }
  }
}

/**
 * Parses a hash in any notation Nix reads: `sha256:<digest>` with a digest in base-16, Nix base-32 or base-64
 * (told apart by length), `sha256-<base64>` (SRI), or a bare digest when `expected` names the algorithm.
 * @throws `hash-malformed` naming the text.
 */
export function parseHash(text: string, expected?: HashAlgorithm): Hash {
  const separator = /[:-]/.exec(text);
  if (separator === null) {
    if (expected === undefined) {
      throw malformed(text, "it does not say its algorithm; write it as 'sha256:…' or 'sha256-…'");
    }
    return parseDigest(text, text, expected, false);
  }
  const algorithm = text.slice(0, separator.index);
  if (!isHashAlgorithm(algorithm)) {
    throw malformed(text, `'${algorithm}' is not one of ${hashAlgorithms.join(', ')}`);
  }
  if (expected !== undefined && algorithm !== expected) throw malformed(text, `a ${expected} hash is needed`);
  return parseDigest(text, text.slice(separator.index + 1), algorithm, separator[0] === '-');
}

function parseDigest(text: string, digest: string, algorithm: HashAlgorithm, sri: boolean): Hash {
  const size = SIZES[algorithm];
  if (!sri && digest.length === size * 2) {
    if (!/^[0-9a-fA-F]+$/.test(digest))
      throw malformed(text, 'it has the length of base-16 but other characters');
    return new Hash(algorithm, Buffer.from(digest, 'hex'));
  }
  if (!sri && digest.length === base32Length(size)) {
    if (!isBase32(digest))
      throw malformed(text, "it has the length of Nix base-32 but characters outside Nix's alphabet");
    return new Hash(algorithm, parseBase32(digest));
  }
  if (digest.length === Math.ceil(size / 3) * 4) {
    const bytes = Buffer.from(digest, 'base64');
    if (bytes.length !== size || bytes.toString('base64') !== digest)
      throw malformed(text, 'its base-64 is not canonical');
    return new Hash(algorithm, bytes);
  }
  throw malformed(
    text,
    `a ${algorithm} hash has ${size * 2} characters in base-16, ${base32Length(size)} in Nix base-32 or ` +
      `${Math.ceil(size / 3) * 4} in base-64, this has ${digest.length}`,
  );
}

function malformed(text: string, why: string): LarderError {
  return new LarderError('hash-malformed', `'${text}' is not a hash: ${why}`, { fields: { text } });
}

/** The digest of bytes in hand; a string is hashed as UTF-8. */
export function computeHash(algorithm: HashAlgorithm, data: Uint8Array | string): Hash {
  return new Hash(algorithm, digest(algorithm, data));
}

// Node's way to hash in one call is twice as fast for the short texts that store paths are made of; 20.12 has it.
const digest: (algorithm: HashAlgorithm, data: Uint8Array | string) => Uint8Array =
  (crypto as { hash?: typeof crypto.hash }).hash === undefined
    ? (algorithm, data) => createHash(algorithm).update(data).digest()
    : (algorithm, data) => crypto.hash(algorithm, data, 'buffer');

/** Hashes bytes as they come: `update` in any number of pieces, then one `digest`. */
export class Hasher {
  readonly algorithm: HashAlgorithm;
  readonly #state: NodeHash;
  #size = 0;

  constructor(algorithm: HashAlgorithm) {
    this.algorithm = algorithm;
    this.#state = createHash(algorithm);
  }

  /** Bytes seen so far. */
  get size(): number {
    return this.#size;
  }

  update(chunk: Uint8Array): void {
    this.#size += chunk.length;
    this.#state.update(chunk);
  }

  digest(): Hash {
    return new Hash(this.algorithm, this.#state.digest());
  }
}

/** Drains `source`; gives the digest and the size in bytes. */
export async function hashStream(
  algorithm: HashAlgorithm,
  source: AsyncIterable<Uint8Array>,
): Promise<{ readonly hash: Hash; readonly size: number }> {
  const hasher = new Hasher(algorithm);
  for await (const chunk of source) hasher.update(chunk);
  return { hash: hasher.digest(), size: hasher.size };
}

/** Folds a digest to `size` bytes by exclusive or, as store path hash parts are made (20 bytes). */
export function compressHash(bytes: Uint8Array, size: number): Uint8Array {
  const folded = new Uint8Array(size);
  bytes.forEach((byte, index) => {
    folded[index % size] = (folded[index % size] ?? 0) ^ byte;
  });
  return folded;
}
