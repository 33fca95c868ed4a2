/** The worker module behind `NarReader`: work over whole NARs, which burns CPU, away from the event loop. */
import { decompress } from '@larder/signing/codec';
import type { Compression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { makeSeekable } from '@larder/signing/make-seekable';
import { ReferenceScanner } from '@larder/signing/references';
import { type JobContext, serveJobs } from '@larder/signing/worker-jobs';
import type { ContentHashRequest } from './content-facts.js';
import { ContentHasher } from './content-hasher.js';
import { NarSurvey } from './nar-survey.js';

/** Digests and packed hash parts cross threads as bytes. */
export interface SurveyResult {
  readonly narHash: Uint8Array;
  readonly narSize: number;
  readonly hashParts: Uint8Array | undefined;
  readonly listing: string | undefined;
}

export interface IngestResult extends SurveyResult {
  readonly uploadHash: Uint8Array;
  readonly fileHash: Uint8Array;
  readonly fileSize: number;
}

export interface ReadParams {
  readonly compression: Compression;
  /** Most bytes the NAR may have unpacked. */
  readonly maxSize: number;
}

export type NarJobs = {
  /** Upload in, seekable zstd out. */
  readonly ingest: {
    readonly params: ReadParams & { readonly level: number };
    readonly result: IngestResult;
  };
  /** Stored NAR in. */
  readonly survey: { readonly params: ReadParams; readonly result: SurveyResult };
  /** Stored NAR in; those of the wanted hash parts that occur in it. */
  readonly references: {
    readonly params: ReadParams & { readonly wanted: readonly string[] };
    readonly result: readonly string[];
  };
  /** Stored NAR, or frames of it, in; some of its bytes out. */
  readonly slice: {
    readonly params: ReadParams & { readonly skip: number; readonly length: number };
    readonly result: undefined;
  };
  /** Stored NAR in; undefined when the method wants a plain file and it is none. */
  readonly contentHash: {
    readonly params: ReadParams & { readonly request: ContentHashRequest };
    readonly result: Uint8Array | undefined;
  };
};

async function* hashed(source: AsyncIterable<Uint8Array>, hasher: Hasher): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}

async function ingest(
  { compression, maxSize, level }: NarJobs['ingest']['params'],
  context: JobContext,
): Promise<IngestResult> {
  const upload = new Hasher('sha256');
  const file = new Hasher('sha256');
  const survey = new NarSurvey();
  const { signal } = context;
  const kept = makeSeekable(hashed(context.input, upload), {
    compression,
    maxSize,
    level,
    onContent: (chunk) => survey.write(chunk),
    signal,
  });
  for await (const piece of kept) {
    file.update(piece);
    await context.write(piece);
    await context.breathe();
  }
  return {
    ...finish(survey),
    uploadHash: upload.digest().bytes,
    fileHash: file.digest().bytes,
    fileSize: file.size,
  };
}

async function survey(params: ReadParams, context: JobContext): Promise<SurveyResult> {
  const result = new NarSurvey();
  for await (const chunk of plainNar(params, context)) {
    result.write(chunk);
    await context.breathe();
  }
  return finish(result);
}

async function references(
  params: NarJobs['references']['params'],
  context: JobContext,
): Promise<readonly string[]> {
  const scanner = new ReferenceScanner(params.wanted);
  for await (const chunk of plainNar(params, context)) {
    scanner.write(chunk);
    await context.breathe();
  }
  return [...scanner.found()];
}

async function contentHash(
  params: NarJobs['contentHash']['params'],
  context: JobContext,
): Promise<Uint8Array | undefined> {
  const hasher = new ContentHasher(params.request);
  for await (const chunk of plainNar(params, context)) {
    hasher.write(chunk);
    await context.breathe();
  }
  return hasher.finish()?.bytes;
}

async function slice(
  { skip, length, ...params }: NarJobs['slice']['params'],
  context: JobContext,
): Promise<undefined> {
  const end = skip + length;
  let at = 0;
  for await (const chunk of plainNar(params, context)) {
    const from = Math.max(0, skip - at);
    const to = Math.min(chunk.length, end - at);
    at += chunk.length;
    if (from < to) await context.write(chunk.subarray(from, to));
    if (at >= end) return;
    await context.breathe();
  }
  throw new LarderError(
    'codec-truncated',
    `the stored NAR ends at byte ${at}, before the ${end} it should have`,
  );
}

function plainNar({ compression, maxSize }: ReadParams, context: JobContext): AsyncIterable<Uint8Array> {
  return decompress(context.input, compression, { maxSize, lend: true, signal: context.signal });
}

function finish(survey: NarSurvey): SurveyResult {
  const { narHash, ...rest } = survey.finish();
  if (narHash.algorithm !== 'sha256') throw new LarderError('nar-malformed', 'NARs are named by SHA-256');
  return { ...rest, narHash: narHash.bytes };
}

serveJobs<NarJobs>({ ingest, survey, references, slice, contentHash });
