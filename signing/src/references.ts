import { HASH_PART_LENGTH, isHashPart } from './store-path.js';

/** By byte: whether it belongs to Nix's base-32 alphabet. */
const IN_ALPHABET = new Uint8Array(256);
for (const character of '0123456789abcdfghijklmnpqrsvwxyz') IN_ALPHABET[character.charCodeAt(0)] = 1;

/**
 * Finds which store path hash parts occur in a stream of bytes, wherever chunks are cut: how Nix tells a build's
 * runtime references. Only `candidates` are looked for.
 */
export class ReferenceScanner {
  readonly #candidates: ReadonlySet<string>;
  readonly #found = new Set<string>();
  /** The last bytes of what was seen, where a hash part may have begun. */
  #tail: Buffer = Buffer.alloc(0);

  constructor(candidates: Iterable<string>) {
    this.#candidates = new Set([...candidates].filter(isHashPart));
  }

  write(data: Uint8Array): void {
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (this.#candidates.size === this.#found.size) return;
    const edge = HASH_PART_LENGTH - 1;
    if (this.#tail.length > 0) this.#scan(Buffer.concat([this.#tail, chunk.subarray(0, edge)]));
    this.#scan(chunk);
    const kept =
      chunk.length >= edge
        ? chunk.subarray(chunk.length - edge)
        : Buffer.concat([this.#tail, chunk]).subarray(-edge);
    // A copy: the chunk is the caller's.
    this.#tail = Buffer.from(kept);
  }

  /** The candidates seen so far. */
  found(): ReadonlySet<string> {
    return this.#found;
  }

  /** Looks at every 32nd byte first: a hash part cannot hide between two that are outside the alphabet. */
  #scan(buffer: Buffer): void {
    for (let start = 0; start + HASH_PART_LENGTH <= buffer.length; ) {
      let at = start + HASH_PART_LENGTH - 1;
      while (at >= start && IN_ALPHABET[buffer[at]!] === 1) at--;
      if (at >= start) {
        start = at + 1;
        continue;
      }
      const text = buffer.toString('latin1', start, start + HASH_PART_LENGTH);
      if (this.#candidates.has(text)) this.#found.add(text);
      start++;
    }
  }
}
