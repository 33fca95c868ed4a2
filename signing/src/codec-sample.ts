/** What the codec tests share: deterministic data, and streams cut as they like. */

/** Bytes between text and noise, with runs; the corpus under corpus/codec holds the first 250,000 of them. */
export function sampleBytes(size: number): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (let x = 12345; length < size; ) {
    x = Number((BigInt(x) * 1103515245n + 12345n) & 0x7fffffffn);
    const part = samplePart(x);
    parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts).subarray(0, size);
}

function samplePart(x: number): Buffer {
  const kind = (x >> 16) & 7;
  if (kind < 5) return Buffer.from(`${x >> 20} store path /nix/store `);
  if (kind === 5) return Buffer.alloc((x >> 16) & 1023, (x >> 8) & 255);
  const word = Buffer.alloc(4);
  word.writeUInt32LE(x);
  return kind === 6 ? Buffer.concat([word, word, word]) : word;
}

/** A stream of `bytes`, cut at the given sizes over and over; 0 gives an empty chunk. */
export async function* cut(
  bytes: Uint8Array,
  sizes: readonly number[] = [65536],
): AsyncGenerator<Uint8Array> {
  const steps = sizes.some((size) => size > 0) ? sizes : [4096];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = steps[i % steps.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** All of a stream in one buffer. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A stream of `size` bytes that repeats `pattern`. */
export async function* repeat(pattern: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let left = size; left > 0; left -= pattern.length) {
    yield left >= pattern.length ? pattern : pattern.subarray(0, left);
  }
}
