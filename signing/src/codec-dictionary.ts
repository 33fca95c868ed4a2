import { codecMalformed, codecTooLarge, type StepCodec } from './codec-step.js';

/** What a decoder may be asked to remember: what stock zstd allows, and twice what xz -9 and lzip -9 need. */
const MAX_DICTIONARY = 2 ** 27;

/** Guards against headers that ask for gigabytes of memory. @throws `codec-too-large` */
export function checkDictionary(compression: string, size: number): void {
  if (size > MAX_DICTIONARY)
    throw codecTooLarge(
      compression,
      `its dictionary has ${size} bytes, and ${MAX_DICTIONARY} are allowed; recompress it with a smaller one`,
    );
}

/** Reads a format's headers: each step asks for so many bytes, or, below zero, for as many to be passed over. */
type Walk = Generator<number, void, Buffer>;

/** Looks at the input before a decoder gets it, whose library would obey any header. */
export class DictionaryGuard implements StepCodec {
  readonly #codec: StepCodec;
  readonly #walk: Walk;
  #wanted: number | undefined;
  #held: Buffer = Buffer.alloc(0);

  private constructor(codec: StepCodec, walk: Walk) {
    this.#codec = codec;
    this.#walk = walk;
    this.#advance(Buffer.alloc(0));
  }

  static xz(codec: StepCodec): StepCodec {
    return new DictionaryGuard(codec, walkXz());
  }

  static lzma(codec: StepCodec): StepCodec {
    return new DictionaryGuard(codec, walkLzma());
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    let rest = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    while (this.#wanted !== undefined && rest.length > 0) {
      if (this.#wanted < 0) {
        const passed = Math.min(-this.#wanted, rest.length);
        rest = rest.subarray(passed);
        this.#wanted += passed;
        if (this.#wanted === 0) this.#advance(Buffer.alloc(0));
        continue;
      }
      const taken = rest.subarray(0, this.#wanted - this.#held.length);
      rest = rest.subarray(taken.length);
      this.#held = this.#held.length === 0 ? taken : Buffer.concat([this.#held, taken]);
      if (this.#held.length === this.#wanted) this.#advance(this.#held);
    }
    // What is kept for the next call must outlive this one.
    this.#held = Buffer.from(this.#held);
    yield* this.#codec.write(input);
  }

  #advance(bytes: Buffer): void {
    this.#held = Buffer.alloc(0);
    let next = this.#walk.next(bytes);
    while (next.done !== true && next.value === 0) next = this.#walk.next(Buffer.alloc(0));
    this.#wanted = next.done === true ? undefined : next.value;
  }

  end(): Iterable<Uint8Array> {
    return this.#codec.end();
  }

  close(): void {
    this.#codec.close();
  }
}

/** `.lzma`: properties in a byte, the dictionary's size in four. */
function* walkLzma(): Walk {
  checkDictionary('lzma', (yield 5).readUInt32LE(1));
}

const STREAM_HEADER = 12;
const STREAM_FOOTER = 12;
const LZMA2 = 0x21;
/** Bytes of a block's check, by its id. */
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/** Streams and the zeros between them; the decoder itself sees to whether they are right. Format: the .xz file format, 1.2. */
function* walkXz(): Walk {
  for (;;) {
    const start = yield 4;
    if (start.readUInt32LE(0) === 0) continue;
    const header = yield STREAM_HEADER - 4;
    if (start.readUInt32BE(0) !== 0xfd377a58) throw unreadable();
    yield* walkStream(CHECK_SIZES[header[3]! & 0x0f]!);
  }
}

function* walkStream(checkSize: number): Walk {
  for (let size = (yield 1)[0]!; size !== 0; size = (yield 1)[0]!) {
    checkBlockHeader(yield size * 4 + 3);
    yield* walkBlock();
    yield -checkSize;
  }
  yield* walkIndex();
  yield -STREAM_FOOTER;
}

/** The dictionaries of a block's filters. `header` is what follows its first byte. */
function checkBlockHeader(header: Buffer): void {
  const flags = header[0]!;
  let at = 1;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = header[at++];
      if (byte === undefined || scale > 2 ** 56) throw unreadable();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  if ((flags & 0x40) !== 0) number();
  if ((flags & 0x80) !== 0) number();
  for (let filter = 0; filter <= (flags & 0x03); filter++) {
    const id = number();
    const length = number();
    const bits = header[at];
    if (id === LZMA2 && bits !== undefined)
      checkDictionary('xz', bits >= 40 ? 2 ** 32 : (2 + (bits & 1)) * 2 ** ((bits >>> 1) + 11));
    at += length;
  }
}

/** LZMA2 comes in chunks that tell their size, ends in a zero, and is filled up to four bytes. */
function* walkBlock(): Walk {
  let size = 1;
  for (let control = (yield 1)[0]!; control !== 0; control = (yield 1)[0]!) {
    if (control < 0x80) {
      if (control > 2) throw unreadable();
      const length = (yield 2).readUInt16BE(0) + 1;
      yield -length;
      size += 3 + length;
    } else {
      const head = yield control >= 0xc0 ? 5 : 4;
      const length = head.readUInt16BE(2) + 1;
      yield -length;
      size += 1 + head.length + length;
    }
  }
  yield -((4 - (size % 4)) % 4);
}

/** The blocks' sizes in numbers of seven bits a byte, filled up to four bytes, and a checksum. */
function* walkIndex(): Walk {
  let size = 1;
  let left = 1;
  let value = 0;
  let scale = 1;
  for (let isCount = true; left > 0; ) {
    const byte = (yield 1)[0]!;
    size++;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte >= 0x80) continue;
    if (isCount) left = 2 * value;
    else left--;
    isCount = false;
    value = 0;
    scale = 1;
  }
  yield -((4 - (size % 4)) % 4);
  yield -4;
}

function unreadable(): Error {
  return codecMalformed('xz', 'its blocks cannot be told apart');
}
