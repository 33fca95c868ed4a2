/** Thrown when the bits run out; the decoder turns it into its own error. */
export class OutOfBits extends Error {}

/** Reads bits, most significant first, out of a growing buffer of whole bytes. */
export class BitReader {
  bytes: Uint8Array = new Uint8Array(0);
  position = 0;
  /** The low `count` bits are the ones read ahead. */
  #window = 0;
  #count = 0;

  /** Puts more bytes behind those not read yet. */
  append(chunk: Uint8Array): void {
    const rest = this.bytes.subarray(this.position);
    const joined = new Uint8Array(rest.length + chunk.length);
    joined.set(rest);
    joined.set(chunk, rest.length);
    this.bytes = joined;
    this.position = 0;
  }

  /** Whole bytes not yet looked at. */
  get available(): number {
    return this.bytes.length - this.position;
  }

  /** The next `count` (at most 24) bits as a number. */
  read(count: number): number {
    while (this.#count < count) this.#load();
    this.skip(count);
    return (this.#window >>> this.#count) & ((1 << count) - 1);
  }

  #load(): void {
    if (this.position >= this.bytes.length) throw new OutOfBits();
    this.#window = (this.#window << 8) | this.bytes[this.position]!;
    this.position += 1;
    this.#count += 8;
  }

  /** Skips to the next whole byte. */
  align(): void {
    this.#count -= this.#count & 7;
  }

  /** Whether no whole byte is left. */
  get isEmpty(): boolean {
    return this.position - (this.#count >>> 3) >= this.bytes.length;
  }

  /** The next 20 bits without taking them, zeros standing in behind the end. */
  peek20(): number {
    while (this.#count < 20) {
      const byte = this.bytes[this.position] ?? 0;
      this.#window = (this.#window << 8) | byte;
      this.position += 1;
      this.#count += 8;
    }
    return (this.#window >>> (this.#count - 20)) & 0xfffff;
  }

  /** Takes `count` of the bits read ahead. */
  skip(count: number): void {
    this.#count -= count;
    // What peek20 made up does not count as read.
    if (this.position - (this.#count >>> 3) > this.bytes.length) throw new OutOfBits();
  }
}
