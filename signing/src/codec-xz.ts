import { LzmaNativeCodec } from './codec-lzma.js';
import { codecMalformed, codecTruncated, OUTPUT_SIZE, type StepCodec } from './codec-step.js';

/** liblzma's words for an action and an outcome; both bindings hand out the numbers of its C interface. */
const RUN = 0;
const FINISH = 3;
const OK = 0;
const STREAM_END = 1;
const BUFFER_ERROR = 10;
const CHECK_CRC64 = 4;
const DETAILS: Readonly<Record<number, string>> = {
  5: 'liblzma found too little memory for its dictionary',
  7: 'it does not begin as xz does',
  8: 'it uses features that liblzma does not know',
  9: 'a check failed: the data was damaged',
};

/** The synchronous core of node-liblzma, typed here because the package is optional and may be missing. */
interface LiblzmaStream {
  codeSync(
    action: number,
    input: Uint8Array | null,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
  ): [status: number, inputLeft: number, outputLeft: number];
  close(): void;
}
interface Liblzma {
  readonly Xz: new (options: Readonly<Record<string, number>>) => { readonly lzma: LiblzmaStream };
  readonly Unxz: new (options: Readonly<Record<string, number>>) => { readonly lzma: LiblzmaStream };
}

let liblzma: Promise<Liblzma | undefined> | undefined;

/**
 * node-liblzma links the system's liblzma and decodes three times as fast as lzma-native, whose bundled copy is
 * built without optimisation; but it needs liblzma's headers at install. It is therefore optional, and
 * lzma-native, which comes prebuilt for every common platform, stands in.
 */
function loadLiblzma(): Promise<Liblzma | undefined> {
  const name: string = 'node-liblzma';
  liblzma ??= import(name).then(
    (module: unknown) => module as Liblzma,
    () => undefined,
  );
  return liblzma;
}

/** Reads .xz: any number of streams, blocks and padding, each with its integrity check. */
export async function openXzDecoder(): Promise<StepCodec> {
  const library = await loadLiblzma();
  if (library === undefined) return LzmaNativeCodec.xzDecoder();
  return new LiblzmaCodec(new library.Unxz({ chunkSize: 1024 }).lzma);
}

/** Writes .xz with a CRC64, as the xz tool and Nix do. `level` is 0 to 9, 6 by default. */
export async function openXzEncoder(level: number = 6): Promise<StepCodec> {
  const library = await loadLiblzma();
  if (library === undefined) return LzmaNativeCodec.xzEncoder(level);
  return new LiblzmaCodec(new library.Xz({ preset: level, check: CHECK_CRC64, chunkSize: 1024 }).lzma);
}

class LiblzmaCodec implements StepCodec {
  readonly #stream: LiblzmaStream;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);
  #closed = false;

  constructor(stream: LiblzmaStream) {
    this.#stream = stream;
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    const buffer = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    let left = buffer.length;
    while (left > 0) {
      const [status, inputLeft, outputLeft] = this.#step(RUN, buffer, left);
      left = inputLeft;
      if (outputLeft < OUTPUT_SIZE) yield this.#output.subarray(0, OUTPUT_SIZE - outputLeft);
      if (status !== OK) throw failure(status);
    }
  }

  *end(): Generator<Uint8Array> {
    for (;;) {
      const [status, , outputLeft] = this.#step(FINISH, null, 0);
      if (outputLeft < OUTPUT_SIZE) yield this.#output.subarray(0, OUTPUT_SIZE - outputLeft);
      if (status === STREAM_END) return;
      if (status !== OK) throw failure(status);
    }
  }

  #step(action: number, input: Buffer | null, left: number): [number, number, number] {
    return this.#stream.codeSync(action, input, (input?.length ?? 0) - left, left, this.#output, 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.close();
  }
}

/** The error for a status of liblzma that means no good. */
function failure(status: number): Error {
  if (status === BUFFER_ERROR) return codecTruncated('xz');
  return codecMalformed('xz', DETAILS[status] ?? `liblzma says ${status}`);
}
