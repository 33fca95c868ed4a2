import { codecOverflow, OUTPUT_SIZE, type StepCodec } from './codec-step.js';
import { ZstdDecoder } from './codec-zstd.js';
import { formatSeekTable, type SeekEntry } from './seek-table.js';
import { FRAME_SIZE, frameChecksum, SeekableZstdEncoder } from './seekable-zstd-writer.js';

/** After a frame with less content than this, what follows is framed anew: a table of crumbs helps nobody. */
const MIN_FRAME_SIZE = 1024 * 1024;
/** A frame kept as it is may ask its readers for this large a window, 32 MiB. */
const MAX_WINDOW_LOG = 25;

export interface SeekableRewriterOptions {
  /** Sees the content on its way; the chunk is lent for the call. */
  readonly onContent: (chunk: Uint8Array) => void;
  /** Content in all at most; more is `codec-too-large`. */
  readonly maxSize?: number;
  readonly windowLogMax?: number;
  /** zstd level of the frames that are made anew. */
  readonly level?: number;
  readonly frameSize?: number;
}

/**
 * Makes any zstd file seekable while it is read through, keeping its frames as they are if they will do: at most
 * `frameSize` of content, a checksum, a modest window. So what was made seekable is not compressed again, and
 * costs no more than the reading. A frame is held, compressed, until its end shows which it is.
 */
export class SeekableRewriter implements StepCodec {
  readonly #options: SeekableRewriterOptions;
  readonly #frameSize: number;
  readonly #decoder: ZstdDecoder;
  readonly #entries: SeekEntry[] = [];
  /** Ends of frames that the decoder passed and we did not yet. */
  readonly #ends: FramePosition[] = [];
  /** Takes the content once a frame could not be kept. */
  #encoder: SeekableZstdEncoder | undefined;
  /** The compressed bytes from the current frame on. */
  #held: Uint8Array[] = [];
  #heldSize = 0;
  #frameStart: FramePosition = { input: 0, output: 0 };
  #outputSize = 0;
  #sawCrumb = false;

  constructor(options: SeekableRewriterOptions) {
    this.#options = options;
    this.#frameSize = options.frameSize ?? FRAME_SIZE;
    this.#decoder = new ZstdDecoder({
      windowLogMax: options.windowLogMax,
      onFrame: (input, output) => this.#ends.push({ input, output }),
    });
  }

  /** Whether every frame was kept. */
  get keptAll(): boolean {
    return this.#encoder === undefined;
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    this.#hold(input);
    for (const content of this.#decoder.write(input)) {
      // An end may be known before the content that follows it, or with the last of its own.
      yield* this.#passEnds();
      this.#look(content);
      if (this.#encoder !== undefined) yield* this.#encoder.write(content);
      else if (this.#outputSize - this.#frameStart.output > this.#frameSize) yield* this.#reframe();
      yield* this.#passEnds();
    }
    yield* this.#passEnds();
    // Compressed bytes without content to speak of: not a frame to keep either.
    if (this.#heldSize > 2 * this.#frameSize) yield* this.#reframe();
  }

  *end(): Generator<Uint8Array> {
    this.#decoder.end();
    if (this.#encoder === undefined && this.#entries.length > 0) yield formatSeekTable(this.#entries);
    else yield* this.#openEncoder().end();
  }

  close(): void {
    this.#decoder.close();
    this.#encoder?.close();
    this.#held = [];
  }

  #hold(input: Uint8Array): void {
    if (this.#encoder !== undefined) return;
    this.#held.push(Uint8Array.from(input));
    this.#heldSize += input.length;
  }

  #look(content: Uint8Array): void {
    this.#outputSize += content.length;
    const { maxSize = Infinity, onContent } = this.#options;
    if (this.#outputSize > maxSize) {
      throw codecOverflow('zstd', maxSize);
    }
    onContent(content);
  }

  *#passEnds(): Generator<Uint8Array> {
    while (this.#ends.length > 0 && this.#ends[0]!.output <= this.#outputSize) {
      const end = this.#ends.shift()!;
      if (this.#encoder === undefined) yield* this.#endFrame(end);
    }
  }

  *#endFrame(end: FramePosition): Generator<Uint8Array> {
    const held = Buffer.concat(this.#held);
    const frame = held.subarray(0, end.input - this.#frameStart.input);
    const size = end.output - this.#frameStart.output;
    if (size > 0 && (this.#sawCrumb || !canBeKept(frame))) {
      yield* this.#reframe();
      return;
    }
    this.#held = [held.subarray(frame.length)];
    this.#heldSize = held.length - frame.length;
    this.#frameStart = end;
    // Skippable frames, a seek table among them, and empty ones are left out.
    if (size === 0) return;
    this.#sawCrumb = size < MIN_FRAME_SIZE;
    this.#entries.push({ compressedSize: frame.length, size, checksum: frameChecksum(frame) });
    for (let at = 0; at < frame.length; at += OUTPUT_SIZE) yield frame.subarray(at, at + OUTPUT_SIZE);
  }

  /** From the current frame on makes frames anew: what was decoded of it is decoded once more for the encoder. */
  *#reframe(): Generator<Uint8Array> {
    const encoder = this.#openEncoder();
    const held = Buffer.concat(this.#held);
    this.#held = [];
    this.#heldSize = 0;
    let left = this.#outputSize - this.#frameStart.output;
    const decoder = new ZstdDecoder({ windowLogMax: this.#options.windowLogMax });
    try {
      for (const content of decoder.write(held)) {
        yield* encoder.write(content.subarray(0, left));
        left -= Math.min(left, content.length);
        if (left === 0) return;
      }
    } finally {
      decoder.close();
    }
  }

  #openEncoder(): SeekableZstdEncoder {
    const { level } = this.#options;
    this.#encoder ??= new SeekableZstdEncoder({ level, frameSize: this.#frameSize, entries: this.#entries });
    return this.#encoder;
  }
}

interface FramePosition {
  readonly input: number;
  readonly output: number;
}

/** Whether a frame has a checksum, needs no dictionary and asks for no larger window than we allow (RFC 8878, 3.1.1). */
function canBeKept(frame: Buffer): boolean {
  const descriptor = frame[4]!;
  const hasChecksum = (descriptor & 0x04) !== 0;
  const hasDictionary = (descriptor & 0x03) !== 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const windowLog = isSingleSegment ? 0 : 10 + (frame[5]! >>> 3);
  return hasChecksum && !hasDictionary && windowLog <= MAX_WINDOW_LOG;
}
