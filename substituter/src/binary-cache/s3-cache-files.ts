import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { LarderError } from '@larder/signing/errors';
import { Semaphore } from '../concurrency.js';
import { decodeContent } from '../http/content-encoding.js';
import { retryDelay } from '../http/retry.js';
import type { ReadOptions } from '../store.js';
import { formatStoreUri, type StoreUri } from '../store-uri.js';
import type { CacheFiles, FileContents, WriteOptions } from './cache-files.js';
import { putInParts } from './s3-multipart.js';

type S3Uri = Extract<StoreUri, { readonly kind: 's3' }>;

/** Objects up to this size in bytes are put whole, from memory, so that the SDK can sign and repeat the request. */
const wholeSize = 8 * 1024 * 1024;

/** Objects put at a time: with what each holds in memory, what bounds the whole. */
const writesAtOnce = 4;

/** A cache in a bucket of S3 or of anything that speaks its protocol. Loaded on demand: the SDK is large. */
export class S3CacheFiles implements CacheFiles {
  readonly uri: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #attempts: number;
  readonly #writes = new Semaphore(writesAtOnce);

  constructor(uri: S3Uri, attempts: number) {
    this.uri = formatStoreUri(uri);
    this.#client = new S3Client(clientConfig(uri, attempts));
    this.#bucket = uri.bucket;
    this.#prefix = uri.prefix === '' ? '' : `${uri.prefix}/`;
    this.#attempts = attempts;
  }

  async read(name: string, { signal }: ReadOptions = {}): Promise<Uint8Array | undefined> {
    try {
      const object = await this.#get(name, undefined, signal);
      const bytes = await object.Body!.transformToByteArray();
      return await decoded(bytes, object.ContentEncoding, signal);
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw this.#failure('read', name, error);
    }
  }

  async *open(name: string, { signal }: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    let position = 0;
    let etag: string | undefined;
    for (let attempt = 1; ; attempt++) {
      const started = position;
      try {
        const range = position === 0 ? undefined : { start: position, etag };
        const object = await this.#get(name, range, signal);
        etag = object.ETag;
        for await (const chunk of object.Body as Readable as AsyncIterable<Uint8Array>) {
          position += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (isAbsence(error)) {
          throw new LarderError('cache-file-missing', `${this.uri} has no file ${name}`, {
            fields: { cache: this.uri, file: name },
          });
        }
        if (position > started) attempt = 1;
        // The SDK has tried requests again itself; what is left to us are bodies that break off.
        if (error instanceof S3ServiceException || attempt >= this.#attempts) {
          throw this.#failure('read', name, error);
        }
        await sleep(retryDelay(attempt), undefined, { signal });
      }
    }
  }

  async exists(name: string, { signal }: ReadOptions = {}): Promise<boolean> {
    try {
      await this.#client.send(new HeadObjectCommand(this.#object(name)), { abortSignal: signal });
      return true;
    } catch (error) {
      if (isAbsence(error)) return false;
      throw this.#failure('read', name, error);
    }
  }

  async *list(folder = ''): AsyncGenerator<string, void, undefined> {
    const pages = paginateListObjectsV2(
      { client: this.#client },
      folder === ''
        ? { Bucket: this.#bucket, Prefix: this.#prefix, Delimiter: '/' }
        : { Bucket: this.#bucket, Prefix: `${this.#prefix}${folder}/` },
    );
    try {
      for await (const page of pages)
        for (const { Key = '' } of page.Contents ?? []) yield Key.slice(this.#prefix.length);
    } catch (error) {
      throw this.#failure('read', 'the list of files', error);
    }
  }

  async write(name: string, contents: FileContents, options: WriteOptions): Promise<void> {
    const object = {
      ...this.#object(name),
      ContentType: options.contentType,
      ContentEncoding: options.contentEncoding,
    };
    try {
      await this.#writes.run(() =>
        contents.size > wholeSize
          ? putInParts(this.#client, object, { contents, signal: options.signal })
          : this.#putWhole(object, contents, options.signal),
      );
    } catch (error) {
      options.signal?.throwIfAborted();
      throw this.#failure('write', name, error);
    }
  }

  async #putWhole(
    object: PutObjectCommandInput,
    contents: FileContents,
    abortSignal: AbortSignal | undefined,
  ): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of contents.open()) chunks.push(chunk);
    await this.#client.send(new PutObjectCommand({ ...object, Body: Buffer.concat(chunks) }), {
      abortSignal,
    });
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #object(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${name}` };
  }

  async #get(
    name: string,
    range: { readonly start: number; readonly etag: string | undefined } | undefined,
    signal: AbortSignal | undefined,
  ): Promise<GetObjectCommandOutput> {
    const part = range === undefined ? {} : { Range: `bytes=${range.start}-`, IfMatch: range.etag };
    return this.#client.send(new GetObjectCommand({ ...this.#object(name), ...part }), {
      abortSignal: signal,
    });
  }

  #failure(verb: 'read' | 'write', name: string, cause: unknown): LarderError {
    if (cause instanceof LarderError) return cause;
    const status = cause instanceof S3ServiceException ? cause.$metadata.httpStatusCode : undefined;
    const code =
      status === undefined || status >= 500 || status === 429 ? 'cache-unreachable' : 'cache-refused';
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    return new LarderError(code, `cannot ${verb} ${name} in ${this.uri}: ${why}`, { cause });
  }
}

function clientConfig(uri: S3Uri, attempts: number): S3ClientConfig {
  const endpoint = uri.parameters.get('endpoint');
  const scheme = uri.parameters.get('scheme') ?? 'https';
  const profile = uri.parameters.get('profile');
  return {
    region: uri.parameters.get('region') ?? 'us-east-1',
    maxAttempts: attempts,
    // Other engines than Amazon's know neither the SDK's newer checksums nor, mostly, a host name a bucket.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(profile === undefined ? {} : { profile }),
    ...(endpoint === undefined
      ? {}
      : { endpoint: endpoint.includes('://') ? endpoint : `${scheme}://${endpoint}`, forcePathStyle: true }),
  };
}

function isAbsence(error: unknown): boolean {
  if (!(error instanceof S3ServiceException)) return false;
  const status = error.$metadata.httpStatusCode;
  // Without the right to list, S3 says 403 for what is not there; a wrong key says so by name.
  return status === 404 || (status === 403 && (error.name === 'AccessDenied' || error.name === '403'));
}

async function decoded(
  bytes: Uint8Array,
  coding: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (coding === undefined || coding === '') return bytes;
  const chunks: Uint8Array[] = [];
  for await (const chunk of decodeContent(Readable.from([bytes]), coding, signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
