import { LarderError } from './errors.js';

/**
 * Many archives in one answer: each as a header of five bytes (what it is, and its length as a little-endian number)
 * and its bytes.
 */

/** What a frame holds: nothing, since the archive is not there; the archive as zstd; or its delta to a base. */
export type FrameKind = 'absent' | 'archive' | 'delta';

const KINDS: readonly FrameKind[] = ['absent', 'archive', 'delta'];
const HEADER_SIZE = 5;

/** Bytes of a frame at most: it is held in memory. */
export const MAX_FRAME_SIZE = 64 * 1024 * 1024;

export function formatFrameHeader(kind: FrameKind, length: number): Uint8Array {
  const header = Buffer.alloc(HEADER_SIZE);
  header.writeUInt8(KINDS.indexOf(kind));
  header.writeUInt32LE(length, 1);
  return header;
}

/** Hears of each frame when all of it is there; the bytes are its own to keep. */
export type OnFrame = (kind: FrameKind, bytes: Uint8Array) => void;

/** Takes an answer apart, in chunks of any size. */
export class FrameReader {
  readonly #onFrame: OnFrame;
  readonly #header = Buffer.alloc(HEADER_SIZE);
  #headerLength = 0;
  #body: Buffer | undefined;
  #bodyLength = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** @throws `archive-frame-malformed` */
  write(chunk: Uint8Array): void {
    for (let rest = chunk; rest.length > 0; ) {
      rest = this.#body === undefined ? this.#readHeader(rest) : this.#readBody(this.#body, rest);
    }
  }

  /** @throws `archive-frame-malformed` when the answer broke off */
  end(): void {
    if (this.#headerLength > 0) throw malformed('it broke off');
  }

  #readHeader(chunk: Uint8Array): Uint8Array {
    const taken = Math.min(chunk.length, HEADER_SIZE - this.#headerLength);
    this.#header.set(chunk.subarray(0, taken), this.#headerLength);
    this.#headerLength += taken;
    if (this.#headerLength === HEADER_SIZE) {
      const length = this.#header.readUInt32LE(1);
      if (length > MAX_FRAME_SIZE) throw malformed(`a frame of ${length} bytes`);
      this.#body = Buffer.allocUnsafe(length);
      if (length === 0) this.#finish();
    }
    return chunk.subarray(taken);
  }

  #readBody(body: Buffer, chunk: Uint8Array): Uint8Array {
    const taken = Math.min(chunk.length, body.length - this.#bodyLength);
    body.set(chunk.subarray(0, taken), this.#bodyLength);
    this.#bodyLength += taken;
    if (this.#bodyLength === body.length) this.#finish();
    return chunk.subarray(taken);
  }

  #finish(): void {
    const kind = KINDS[this.#header.readUInt8()];
    if (kind === undefined) throw malformed(`a frame of the kind ${this.#header.readUInt8()}`);
    const body = this.#body!;
    this.#body = undefined;
    this.#bodyLength = 0;
    this.#headerLength = 0;
    this.#onFrame(kind, body);
  }
}

function malformed(why: string): LarderError<'archive-frame-malformed'> {
  return new LarderError(
    'archive-frame-malformed',
    `the server's answer of many archives is malformed: ${why}`,
  );
}
