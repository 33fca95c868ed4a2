import { LarderError } from './errors.js';

/**
 * A codec as a synchronous machine, one per stream. What the generators yield is lent: it is valid until the
 * next step, so that one output buffer serves the whole stream; whoever keeps bytes copies them.
 */
export interface StepCodec {
  /** Takes all of `input`, yielding what comes out. Throws `codec-malformed` or `codec-too-large`. */
  write(input: Uint8Array): Iterable<Uint8Array>;
  /** The input is over: yields the rest. Throws `codec-truncated` when the format says more should come. */
  end(): Iterable<Uint8Array>;
  /** Gives native memory back; harmless when called twice. */
  close(): void;
}

/** Uncompressed bytes handed out at a time: enough to make a call's cost vanish, little enough for a CPU cache. */
export const OUTPUT_SIZE = 128 * 1024;

/** The input ended inside the compressed data. */
export function codecTruncated(compression: string): LarderError<'codec-truncated'> {
  return new LarderError(
    'codec-truncated',
    `${compression} data ends too early: the download or file is incomplete; fetch it again`,
    { fields: { compression } },
  );
}

/** The input is not what its label says, or was damaged. `detail` completes "xz data is malformed: …". */
export function codecMalformed(
  compression: string,
  detail: string,
  cause?: unknown,
): LarderError<'codec-malformed'> {
  return new LarderError('codec-malformed', `${compression} data is malformed: ${detail}`, {
    cause,
    fields: { compression },
  });
}

/** For more output than a caller allows. */
export function codecOverflow(compression: string, maxSize: number): LarderError<'codec-too-large'> {
  const message = `${compression} data is too large: more than the ${maxSize} bytes expected came out`;
  return new LarderError('codec-too-large', message, { fields: { compression, maxSize } });
}

/** Decompressing would need more than the caller allowed. */
export function codecTooLarge(compression: string, detail: string): LarderError<'codec-too-large'> {
  return new LarderError('codec-too-large', `${compression} data is too large: ${detail}`, {
    fields: { compression },
  });
}
