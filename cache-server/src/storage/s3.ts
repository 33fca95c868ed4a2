import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { checkKey, STAGING_PREFIX } from './object-key.js';
import { ensureBucket } from './s3-bucket.js';
import { copyWithinBucket } from './s3-copy.js';
import { isAbsence, storageFailed } from './s3-errors.js';
import { collectParts, MultipartUpload } from './s3-multipart.js';
import { sweepStaged, sweepUploads } from './s3-sweep.js';
import type {
  DeleteOptions,
  GetOptions,
  ObjectInfo,
  ObjectStorage,
  PutOptions,
  StagedObject,
  StageOptions,
  StoredObject,
} from './storage.js';

export interface S3StorageOptions {
  readonly bucket: string;
  /** Keys start with this; empty, or ending in a slash. */
  readonly prefix?: string;
  readonly region?: string;
  /** Of an S3-compatible engine; AWS's own by default. */
  readonly endpoint?: string;
  /** Buckets in the path and not in the host's name: what most other engines want. */
  readonly pathStyle?: boolean;
  /** Without them, the SDK's own chain: environment, profile, instance role. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Bytes; every part of an upload but the last has this size (R2 insists), at most 10,000 of them. */
  readonly partSize?: number;
}

/** S3 takes no part under 5 MiB; 8 MiB parts reach 80 GB and hold 24 MiB a running upload. */
export const DEFAULT_PART_SIZE = 8 * 1024 * 1024;

/** Most keys in one DeleteObjects. */
const DELETE_BATCH = 1000;

/**
 * Objects in a bucket of S3 or of an engine that speaks its protocol.
 *
 * Crash invariants: an upload of one part is held in memory and becomes one PutObject; a larger one is a multipart upload,
 * which shows nothing until it completes. Where its key is not known while it runs, it completes under `.staging/<uuid>`
 * and is copied within the bucket. A crash leaves at most an open multipart upload or a staged object: `sweep` removes both.
 */
export class S3Storage implements ObjectStorage {
  readonly engine = 's3';
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #partSize: number;

  constructor(options: S3StorageOptions) {
    this.#client = new S3Client({
      ...regionOf(options),
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
      forcePathStyle: options.pathStyle ?? options.endpoint !== undefined,
      // Other engines refuse or ignore the checksums that newer SDKs add by themselves.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 4,
      requestHandler: {
        connectionTimeout: 5_000,
        socketTimeout: 60_000,
        httpAgent: { maxSockets: 128 },
        httpsAgent: { maxSockets: 128 },
      },
    });
    this.#bucket = options.bucket;
    this.#prefix = options.prefix ?? '';
    this.#partSize = options.partSize ?? DEFAULT_PART_SIZE;
  }

  presign(key: string, seconds: number): Promise<string> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + checkKey(key) });
    return getSignedUrl(this.#client, command, { expiresIn: seconds });
  }

  /** Makes the bucket, unless it is there. */
  createBucket(): Promise<void> {
    return this.#guard(`cannot make the bucket ${this.#bucket}`, () =>
      ensureBucket(this.#client, this.#bucket),
    );
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    const Key = this.#key(key);
    await this.#guard(`cannot write ${key}`, async () => {
      await this.#client.send(
        new PutObjectCommand({
          Bucket: this.#bucket,
          Key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentType: options.contentType,
        }),
        abortable(options.signal),
      );
    });
  }

  async stage(source: AsyncIterable<Uint8Array>, options: StageOptions = {}): Promise<StagedObject> {
    const parts = collectParts(source, this.#partSize)[Symbol.asyncIterator]();
    const first = await parts.next();
    const second = first.done === true ? first : await parts.next();
    if (second.done === true) return this.#stagedInMemory(first.value ?? Buffer.alloc(0), options);
    const target = options.key ?? `${STAGING_PREFIX}/${randomUUID()}`;
    const upload = await MultipartUpload.create(this.#client, {
      ...options,
      bucket: this.#bucket,
      key: this.#prefix + (options.key === undefined ? target : checkKey(target)),
    });
    try {
      await upload.add(first.value);
      await upload.add(second.value);
      for (let next = await parts.next(); next.done !== true; next = await parts.next())
        await upload.add(next.value);
      await upload.settle();
    } catch (error) {
      await upload.abort();
      await parts.return?.(undefined);
      throw error;
    }
    return this.#stagedInParts(upload, target, options);
  }

  #stagedInMemory(bytes: Buffer, options: StageOptions): StagedObject {
    return {
      size: bytes.length,
      publish: (key) => this.put(key, bytes, options),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  #stagedInParts(upload: MultipartUpload, target: string, options: StageOptions): StagedObject {
    let completed = false;
    return {
      size: upload.size,
      publish: async (key) => {
        const Key = this.#key(key);
        await upload.complete();
        completed = true;
        if (key === target) return;
        await this.#guard(`cannot write ${key}`, () =>
          copyWithinBucket(this.#client, {
            ...options,
            bucket: this.#bucket,
            key: Key,
            from: this.#prefix + target,
            size: upload.size,
          }),
        );
        await this.#remove(target);
      },
      [Symbol.asyncDispose]: async () => {
        if (!completed) await upload.abort();
      },
    };
  }

  /** A staged object that stays behind is no harm: the sweep takes it. */
  async #remove(staged: string): Promise<void> {
    await this.#client
      .send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + staged }))
      .catch(() => undefined);
  }

  async get(key: string, { range, signal }: GetOptions = {}): Promise<StoredObject | undefined> {
    const Key = this.#key(key);
    const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end}`;
    return this.#absentOr(`cannot read ${key}`, async () => {
      const answer = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#bucket, Key, Range }),
        abortable(signal),
      );
      const body = answer.Body as Readable;
      const total = /\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1];
      return {
        size: total === undefined ? (answer.ContentLength ?? 0) : Number(total),
        body,
        [Symbol.asyncDispose]: async () => void body.destroy(),
      };
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const Key = this.#key(key);
    return this.#absentOr(`cannot look at ${key}`, async () => {
      const answer = await this.#client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key }));
      return { key, size: answer.ContentLength ?? 0, modified: answer.LastModified ?? new Date(0) };
    });
  }

  async delete(keys: readonly string[], { signal }: DeleteOptions = {}): Promise<void> {
    for (let at = 0; at < keys.length; at += DELETE_BATCH) {
      const batch = keys.slice(at, at + DELETE_BATCH).map((key) => ({ Key: this.#key(key) }));
      await this.#guard(`cannot delete ${keys[at] ?? ''}`, async () => {
        const answer = await this.#client.send(
          new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects: batch, Quiet: true } }),
          abortable(signal),
        );
        const fault = answer.Errors?.[0];
        if (fault !== undefined) throw new Error(`${fault.Key ?? ''}: ${fault.Message ?? fault.Code ?? ''}`);
      });
    }
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const pages = paginateListObjectsV2(
      { client: this.#client },
      { Bucket: this.#bucket, Prefix: this.#prefix + prefix },
    );
    try {
      for await (const page of pages)
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          const key = (Key ?? '').slice(this.#prefix.length);
          if (key.startsWith('.')) continue;
          yield { key, size: Size ?? 0, modified: LastModified ?? new Date(0) };
        }
    } catch (error) {
      throw storageFailed(`cannot list ${prefix}`, error);
    }
  }

  async listCaches(): Promise<readonly string[]> {
    const names: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.#guard('cannot list the bucket', () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#prefix,
            Delimiter: '/',
            ContinuationToken: token,
          }),
        ),
      );
      for (const { Prefix } of page.CommonPrefixes ?? [])
        names.push((Prefix ?? '').slice(this.#prefix.length, -1));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return names.filter((name) => !name.startsWith('.')).sort();
  }

  async sweep(before: Date): Promise<number> {
    const swept = { bucket: this.#bucket, prefix: this.#prefix };
    return this.#guard(
      'cannot sweep the bucket',
      async () =>
        (await sweepUploads(this.#client, swept, before)) + (await sweepStaged(this.#client, swept, before)),
    );
  }

  async check(): Promise<void> {
    await this.#guard(`cannot reach bucket ${this.#bucket}`, async () => {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  #key(key: string): string {
    return this.#prefix + checkKey(key);
  }

  async #guard<T>(message: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw storageFailed(message, error);
    }
  }

  async #absentOr<T>(message: string, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw storageFailed(message, error);
    }
  }
}

function abortable(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

/** Requests are signed for a region; engines of one's own take any, AWS's SDK finds its own by itself. */
function regionOf({ region, endpoint }: S3StorageOptions): { region?: string } {
  if (region !== undefined) return { region };
  return endpoint === undefined ? {} : { region: 'us-east-1' };
}
