import { createHash, type Hash as Sha256 } from 'node:crypto';
import { type FrameKind, FrameReader } from './archive-frames.js';
import { formatBase32 } from './base32.js';
import { compress, decompress } from './codec.js';
import { codecOverflow, type StepCodec } from './codec-step.js';
import { ZstdDecoder } from './codec-zstd.js';
import { DeltaDecoder, makeDelta } from './delta.js';
import { LarderError } from './errors.js';
import { makeSeekable } from './make-seekable.js';
import { NarLister } from './nar-listing.js';
import { ignoringVisitor, NarParser, type NarVisitor } from './nar-parser.js';
import { NarRestorer } from './nar-restore.js';
import type {
  DeltaParams,
  DumpParams,
  DumpResult,
  ExpectedNar,
  FrameParams,
  FrameResult,
  HashParams,
  HashResult,
  ManyItem,
  ManyOutcome,
  NarJobs,
  RestoreManyParams,
  RestoreManyResult,
  RestoreParams,
  RestoreResult,
  VerifyParams,
  VerifyResult,
} from './nar-work-jobs.js';
import { dumpNar } from './nar-writer.js';
import { ReferenceScanner } from './references.js';
import { SeekableCheck } from './seekable-zstd-check.js';
import { compressFrame, SeekableZstdEncoder } from './seekable-zstd-writer.js';
import { type JobContext, serveJobs } from './worker-jobs.js';
import { imageError } from './worker-protocol.js';

/** The module of nar-work's threads. Everything in it may keep its thread busy; nothing else imports it. */
serveJobs<NarJobs>({ verify, restore, restoreMany, dump, hash, makeDelta: doDelta, compressFrame: doFrame });

async function verify(params: VerifyParams, context: JobContext): Promise<VerifyResult> {
  const { compression, windowLogMax, level, narSize, maxSize = narSize, output, base } = params;
  const file = new Digest();
  const stored = new Digest();
  const seekable = compression === 'zstd' && output === 'same' ? new SeekableCheck() : undefined;
  const lister = params.listing ? new NarLister() : undefined;
  const nar = new NarDigest(params.candidates, lister ?? ignoringVisitor);
  const packed = tap(context.input, (chunk) => {
    file.update(chunk);
    seekable?.write(chunk);
    return output === 'same' ? context.write(chunk) : undefined;
  });
  const input = base === undefined ? packed : applyDelta(packed, base, maxSize);
  const onContent = (chunk: Uint8Array): void => {
    nar.write(chunk);
    context.progress(chunk.length);
  };
  const limits = { maxSize, windowLogMax };
  if (output === 'seekable') {
    for await (const piece of makeSeekable(input, { compression, onContent, level, ...limits })) {
      stored.update(piece);
      await context.write(piece);
    }
  } else {
    const content = decompress(input, compression, { lend: true, onFrame: seekable?.onFrame, ...limits });
    for await (const chunk of content) onContent(chunk);
  }
  const result = nar.finish(params);
  const fileHash = file.hash();
  return {
    ...result,
    fileHash,
    fileSize: file.size,
    outputHash: output === 'seekable' ? stored.hash() : fileHash,
    outputSize: output === 'seekable' ? stored.size : output === 'same' ? file.size : 0,
    seekable: output === 'seekable' || (seekable?.matches() ?? false),
    listing: lister?.listing(),
  };
}

async function restore(params: RestoreParams, context: JobContext): Promise<RestoreResult> {
  const { compression, windowLogMax, narSize: maxSize, target, canonical, fsync } = params;
  const restorer = new NarRestorer(target, { canonical, fsync });
  let fileSize = 0;
  try {
    const nar = new NarDigest([], restorer);
    const input = tap(context.input, (chunk) => {
      fileSize += chunk.length;
    });
    const content =
      params.base === undefined
        ? decompress(input, compression, { lend: true, maxSize, windowLogMax })
        : applyDelta(input, params.base, maxSize);
    for await (const chunk of content) {
      nar.write(chunk);
      context.progress(chunk.length);
    }
    const { narHash, narSize } = nar.finish(params);
    return { narHash, narSize, fileSize };
  } finally {
    restorer.close();
  }
}

async function* applyDelta(
  delta: AsyncIterable<Uint8Array>,
  base: string,
  maxSize = Infinity,
): AsyncGenerator<Uint8Array> {
  const decoder = new DeltaDecoder(readArchive(base));
  try {
    let size = 0;
    for await (const piece of delta) {
      for (const chunk of decoder.write(piece)) {
        size += chunk.length;
        if (size > maxSize) throw codecOverflow('delta', maxSize);
        yield chunk;
      }
    }
    decoder.end();
  } finally {
    decoder.close();
  }
}

/** The archive of what is on disk, whole: deltas need all of their base at once. */
function readArchive(path: string): Buffer {
  const chunks: Buffer[] = [];
  for (const chunk of dumpNar(path)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Restores the archives of one answer; one that is not right leaves the others alone. */
async function restoreMany(
  { items, fsync }: RestoreManyParams,
  context: JobContext,
): Promise<RestoreManyResult> {
  const outcomes: ManyOutcome[] = [];
  const reader = new FrameReader((kind, bytes) => {
    const item = items[outcomes.length];
    if (item === undefined) return;
    outcomes.push({ fileSize: bytes.length, error: restoreOne(item, { kind, bytes, fsync }) });
  });
  for await (const chunk of context.input) {
    reader.write(chunk);
    await context.breathe();
  }
  reader.end();
  return { outcomes };
}

interface ReceivedFrame {
  readonly kind: FrameKind;
  readonly bytes: Uint8Array;
  readonly fsync: boolean;
}

function restoreOne(item: ManyItem, { kind, bytes, fsync }: ReceivedFrame): ManyOutcome['error'] {
  const restorer = new NarRestorer(item.target, { canonical: true, fsync });
  let codec: StepCodec | undefined;
  try {
    codec = openFrame(kind, item);
    const nar = new NarDigest([], restorer);
    for (const chunk of codec.write(bytes)) nar.write(chunk);
    for (const chunk of codec.end()) nar.write(chunk);
    nar.finish(item);
    return undefined;
  } catch (error) {
    return imageError(error);
  } finally {
    codec?.close();
    restorer.close();
  }
}

function openFrame(kind: FrameKind, { base }: ManyItem): StepCodec {
  if (kind === 'archive') return new ZstdDecoder();
  if (kind === 'delta' && base !== undefined) return new DeltaDecoder(readArchive(base));
  throw new LarderError('cache-file-missing', 'the cache does not have this archive');
}

async function dump(params: DumpParams, context: JobContext): Promise<DumpResult> {
  const file = new Digest();
  const nar = new PathDigest(params.candidates);
  const emit = (chunk: Uint8Array): Promise<void> | undefined => {
    if (params.compression !== 'none') file.update(chunk);
    return context.write(chunk);
  };
  if (params.compression === 'zstd') await dumpSeekable(params, { nar, emit, context });
  else {
    const source = dumpChunks(params.path, nar, context);
    for await (const chunk of compress(source, params.compression, { level: params.level }))
      await emit(chunk);
  }
  const result = nar.finish();
  const same = params.compression === 'none';
  return {
    ...result,
    fileHash: same ? result.narHash : file.hash(),
    fileSize: same ? result.narSize : file.size,
  };
}

interface DumpParts {
  readonly nar: PathDigest;
  readonly emit: (chunk: Uint8Array) => Promise<void> | undefined;
  readonly context: JobContext;
}

async function dumpSeekable(params: DumpParams, { nar, emit, context }: DumpParts): Promise<void> {
  const encoder = new SeekableZstdEncoder({ level: params.level, size: params.size });
  try {
    for (const chunk of dumpNar(params.path)) {
      nar.write(chunk);
      context.progress(chunk.length);
      for (const piece of encoder.write(chunk)) await emit(piece);
      await context.breathe();
    }
    for (const piece of encoder.end()) await emit(piece);
  } finally {
    encoder.close();
  }
}

async function* dumpChunks(path: string, nar: PathDigest, context: JobContext): AsyncGenerator<Uint8Array> {
  for (const chunk of dumpNar(path)) {
    nar.write(chunk);
    context.progress(chunk.length);
    yield chunk;
    await context.breathe();
  }
}

async function hash({ path, candidates }: HashParams, context: JobContext): Promise<HashResult> {
  const nar = new PathDigest(candidates);
  for await (const _ of dumpChunks(path, nar, context));
  return nar.finish();
}

async function doDelta({ base, path }: DeltaParams, context: JobContext): Promise<Uint8Array> {
  const delta = makeDelta(readArchive(base), readArchive(path));
  context.transfer(delta.buffer as ArrayBuffer);
  return delta;
}

async function doFrame({ content, level }: FrameParams, context: JobContext): Promise<FrameResult> {
  const frame = compressFrame(content, level);
  const buffer = content.buffer as ArrayBuffer;
  context.transfer(frame.buffer as ArrayBuffer, buffer);
  return { frame, buffer };
}

/** Shows every chunk to `look` on its way, waiting if it asks to. */
async function* tap(
  source: AsyncIterable<Uint8Array>,
  look: (chunk: Uint8Array) => Promise<void> | undefined | void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    const wait = look(chunk);
    if (wait !== undefined) await wait;
    yield chunk;
  }
}

/** SHA-256 and size of a stream. */
class Digest {
  readonly #sha: Sha256 = createHash('sha256');
  size = 0;

  update(chunk: Uint8Array): void {
    this.#sha.update(chunk);
    this.size += chunk.length;
  }

  hash(): Uint8Array {
    return this.#sha.digest();
  }
}

/** Hash, size and references of an archive that was just made. */
class PathDigest {
  readonly #digest = new Digest();
  readonly #scanner: ReferenceScanner | undefined;

  constructor(candidates: readonly string[]) {
    this.#scanner = candidates.length > 0 ? new ReferenceScanner(candidates) : undefined;
  }

  write(chunk: Uint8Array): void {
    this.#digest.update(chunk);
    this.#scanner?.write(chunk);
  }

  finish(): HashResult {
    const references = [...(this.#scanner?.found() ?? [])].sort();
    return { narHash: this.#digest.hash(), narSize: this.#digest.size, references };
  }
}

/** The same of an archive from outside, which is parsed strictly meanwhile. */
class NarDigest {
  readonly #digest: PathDigest;
  readonly #parser: NarParser;

  constructor(candidates: readonly string[], visitor: NarVisitor) {
    this.#digest = new PathDigest(candidates);
    this.#parser = new NarParser(visitor);
  }

  write(chunk: Uint8Array): void {
    this.#digest.write(chunk);
    this.#parser.write(chunk);
  }

  finish(expected: ExpectedNar): HashResult {
    this.#parser.end();
    const result = this.#digest.finish();
    checkExpected(result, expected);
    return result;
  }
}

function checkExpected(actual: HashResult, expected: ExpectedNar): void {
  if (expected.narSize !== undefined && expected.narSize !== actual.narSize) {
    throw new LarderError(
      'nar-size-mismatch',
      `the archive has ${actual.narSize} bytes where ${expected.narSize} were promised`,
      { fields: { expected: expected.narSize, actual: actual.narSize } },
    );
  }
  if (expected.narHash === undefined || Buffer.compare(expected.narHash, actual.narHash) === 0) return;
  const wanted = `sha256:${formatBase32(expected.narHash)}`;
  const got = `sha256:${formatBase32(actual.narHash)}`;
  throw new LarderError(
    'nar-hash-mismatch',
    `the archive's hash is ${got} where ${wanted} was promised: it was damaged or tampered with`,
    { fields: { expected: wanted, actual: got } },
  );
}
