import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { storageFailed } from './s3-errors.js';

/** Parts of one upload on the wire at once; with the one being filled, this bounds an upload's memory. */
const PARTS_IN_FLIGHT = 2;

export interface MultipartTarget {
  readonly bucket: string;
  /** With the storage's prefix. */
  readonly key: string;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** Cuts a stream into parts of exactly `size` bytes; the last is shorter, and an empty stream has none. */
export async function* collectParts(source: AsyncIterable<Uint8Array>, size: number): AsyncIterable<Buffer> {
  let part = Buffer.allocUnsafe(size);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(size - filled, chunk.length - at);
      part.set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < size) continue;
      yield part;
      // A new buffer: the one handed out is still on the wire.
      part = Buffer.allocUnsafe(size);
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}

/** How a copy names its source: bucket and key, with all but the slashes escaped. */
export function copySource(bucket: string, key: string): string {
  return `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`;
}

/** An S3 multipart upload that shows nothing until `complete`. */
export class MultipartUpload {
  readonly #client: S3Client;
  readonly #target: MultipartTarget;
  readonly #id: string | undefined;
  readonly #etags: (string | undefined)[] = [];
  readonly #running = new Set<Promise<void>>();
  #failure: unknown;
  #size = 0;

  private constructor(client: S3Client, target: MultipartTarget, id: string | undefined) {
    this.#client = client;
    this.#target = target;
    this.#id = id;
  }

  static async create(client: S3Client, target: MultipartTarget): Promise<MultipartUpload> {
    try {
      const { UploadId } = await client.send(
        new CreateMultipartUploadCommand({
          Bucket: target.bucket,
          Key: target.key,
          ContentType: target.contentType,
        }),
      );
      return new MultipartUpload(client, target, UploadId);
    } catch (error) {
      throw storageFailed(`cannot start an upload of ${target.key}`, error);
    }
  }

  /** Bytes added so far. */
  get size(): number {
    return this.#size;
  }

  /** Takes one part, and waits while too many are on the wire: that is the back-pressure. */
  async add(bytes: Buffer): Promise<void> {
    await this.#run(bytes.length, (part) => this.#send(part, bytes));
  }

  /** Adds bytes `start` to `end` (inclusive) of another object of the bucket, without moving them here. */
  async addCopy(from: string, start: number, end: number): Promise<void> {
    await this.#run(end - start + 1, (part) => this.#sendCopy(part, from, `bytes=${start}-${end}`));
  }

  async #run(size: number, send: (partNumber: number) => Promise<string | undefined>): Promise<void> {
    this.#throwIfFailed();
    const partNumber = this.#etags.push(undefined);
    this.#size += size;
    const sending = send(partNumber).then(
      (etag) => {
        this.#etags[partNumber - 1] = etag;
      },
      (error: unknown) => {
        this.#failure ??= error;
      },
    );
    this.#running.add(sending);
    void sending.then(() => this.#running.delete(sending));
    while (this.#running.size >= PARTS_IN_FLIGHT) await Promise.race(this.#running);
  }

  async #send(PartNumber: number, bytes: Buffer): Promise<string | undefined> {
    const answer = await this.#client.send(
      new UploadPartCommand({ ...this.#address, PartNumber, Body: bytes, ContentLength: bytes.length }),
      this.#abortable,
    );
    return answer.ETag;
  }

  async #sendCopy(PartNumber: number, from: string, range: string): Promise<string | undefined> {
    const answer = await this.#client.send(
      new UploadPartCopyCommand({
        ...this.#address,
        PartNumber,
        CopySource: copySource(this.#target.bucket, from),
        CopySourceRange: range,
      }),
      this.#abortable,
    );
    return answer.CopyPartResult?.ETag;
  }

  /** Waits for all parts. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
    this.#throwIfFailed();
  }

  async complete(): Promise<void> {
    await this.settle();
    try {
      await this.#client.send(
        new CompleteMultipartUploadCommand({
          ...this.#address,
          MultipartUpload: {
            Parts: this.#etags.map((ETag, index) => ({ PartNumber: index + 1, ETag })),
          },
        }),
      );
    } catch (error) {
      throw storageFailed(`cannot complete the upload of ${this.#target.key}`, error);
    }
  }

  /** Frees what was uploaded. Never throws: an upload that cannot be aborted is left to the sweep. */
  async abort(): Promise<void> {
    await Promise.all(this.#running);
    await this.#client.send(new AbortMultipartUploadCommand(this.#address)).catch(() => undefined);
  }

  get #address(): { Bucket: string; Key: string; UploadId: string | undefined } {
    return { Bucket: this.#target.bucket, Key: this.#target.key, UploadId: this.#id };
  }

  get #abortable(): { abortSignal?: AbortSignal } {
    return this.#target.signal === undefined ? {} : { abortSignal: this.#target.signal };
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined)
      throw storageFailed(`cannot upload a part of ${this.#target.key}`, this.#failure);
  }
}
