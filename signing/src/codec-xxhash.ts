const PRIME1 = 0x9e3779b1;
const PRIME2 = 0x85ebca77;
const PRIME3 = 0xc2b2ae3d;
const PRIME4 = 0x27d4eb2f;
const PRIME5 = 0x165667b1;

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** xxHash32 with seed 0, the checksum of lz4 frames. Specified in the xxHash algorithm description, XXH32. */
export class XxHash32 {
  readonly #lanes = Int32Array.of(PRIME1 + PRIME2, PRIME2, 0, -PRIME1);
  readonly #tail = new Uint8Array(16);
  #tailSize = 0;
  #size = 0;

  update(bytes: Uint8Array): void {
    this.#size += bytes.length;
    let at = 0;
    if (this.#tailSize > 0) {
      at = Math.min(16 - this.#tailSize, bytes.length);
      this.#tail.set(bytes.subarray(0, at), this.#tailSize);
      this.#tailSize += at;
      if (this.#tailSize < 16) return;
      this.#stripes(this.#tail);
      this.#tailSize = 0;
    }
    const whole = at + ((bytes.length - at) & ~15);
    this.#stripes(bytes.subarray(at, whole));
    this.#tail.set(bytes.subarray(whole));
    this.#tailSize = bytes.length - whole;
  }

  #stripes(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let [a, b, c, d] = this.#lanes as unknown as [number, number, number, number];
    for (let at = 0; at < bytes.length; at += 16) {
      a = Math.imul(rotate((a + Math.imul(view.getInt32(at, true), PRIME2)) | 0, 13), PRIME1);
      b = Math.imul(rotate((b + Math.imul(view.getInt32(at + 4, true), PRIME2)) | 0, 13), PRIME1);
      c = Math.imul(rotate((c + Math.imul(view.getInt32(at + 8, true), PRIME2)) | 0, 13), PRIME1);
      d = Math.imul(rotate((d + Math.imul(view.getInt32(at + 12, true), PRIME2)) | 0, 13), PRIME1);
    }
    this.#lanes.set([a, b, c, d]);
  }

  /** The hash of all bytes so far, unsigned. */
  digest(): number {
    const [a, b, c, d] = this.#lanes as unknown as [number, number, number, number];
    let hash = this.#size >= 16 ? rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18) : PRIME5;
    hash = (hash + this.#size) | 0;
    const view = new DataView(this.#tail.buffer);
    let at = 0;
    for (; at + 4 <= this.#tailSize; at += 4) {
      hash = Math.imul(rotate((hash + Math.imul(view.getInt32(at, true), PRIME3)) | 0, 17), PRIME4);
    }
    for (; at < this.#tailSize; at++) {
      hash = Math.imul(rotate((hash + Math.imul(this.#tail[at]!, PRIME5)) | 0, 11), PRIME1);
    }
    hash = Math.imul(hash ^ (hash >>> 15), PRIME2);
    hash = Math.imul(hash ^ (hash >>> 13), PRIME3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}
