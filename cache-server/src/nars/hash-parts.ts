import { formatBase32, parseBase32 } from '@larder/signing/base32';
import { HASH_PART_LENGTH } from '@larder/signing/store-path';

/** Bytes of a hash part. */
const PACKED_SIZE = 20;

/**
 * Beyond this many different ones, a NAR's hash parts are not kept (80 KB): such a NAR is full of base-32 or base-16, as
 * sources with lock files are, and is read again in the rare case that references are declared for it.
 */
export const MAX_HASH_PARTS = 4096;

const IN_ALPHABET = new Uint8Array(256);
for (const character of '0123456789abcdfghijklmnpqrsvwxyz') IN_ALPHABET[character.charCodeAt(0)] = 1;

/**
 * Collects everything in a NAR that could be the hash part of a store path: each run of 32 characters of Nix's base-32.
 * An upload comes before the narinfo that says which references to look for, and the NAR goes by only once.
 */
export class HashPartCollector {
  readonly #found = new Set<string>();
  #overflown = false;
  /** Up to 31 bytes that ended the last chunk, where a hash part may have begun. */
  #tail: Buffer = Buffer.alloc(0);

  write(data: Uint8Array): void {
    if (this.#overflown) return;
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const edge = HASH_PART_LENGTH - 1;
    if (this.#tail.length > 0) this.#scan(Buffer.concat([this.#tail, chunk.subarray(0, edge)]));
    this.#scan(chunk);
    // Copied: the chunk is the caller's.
    this.#tail =
      chunk.length >= edge
        ? Buffer.from(chunk.subarray(chunk.length - edge))
        : Buffer.concat([this.#tail, chunk]).subarray(-edge);
  }

  /** What was found, packed and sorted; `undefined` when it was too much to keep. */
  finish(): Buffer | undefined {
    if (this.#overflown) return undefined;
    return Buffer.concat([...this.#found].map((part) => parseBase32(part)).sort(Buffer.compare));
  }

  /** Looks at every 32nd byte first: a hash part cannot hide between two that are outside the alphabet. */
  #scan(buffer: Buffer): void {
    for (let start = 0; start + HASH_PART_LENGTH <= buffer.length; ) {
      let at = start + HASH_PART_LENGTH - 1;
      while (at >= start && IN_ALPHABET[buffer[at] ?? 0] === 1) at--;
      if (at >= start) {
        start = at + 1;
        continue;
      }
      this.#found.add(buffer.toString('latin1', start, start + HASH_PART_LENGTH));
      if (this.#found.size > MAX_HASH_PARTS) {
        this.#overflown = true;
        this.#found.clear();
        return;
      }
      start++;
    }
  }
}

/** The hash parts that `HashPartCollector` packed. */
export function unpackHashParts(packed: Uint8Array): Set<string> {
  const parts = new Set<string>();
  for (let at = 0; at < packed.length; at += PACKED_SIZE)
    parts.add(formatBase32(packed.subarray(at, at + PACKED_SIZE)));
  return parts;
}
