import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { FileContents } from './cache-files.js';

/** Bytes a part, unless there would be more parts than S3 allows. */
const partSize = 8 * 1024 * 1024;
const mostParts = 10_000;

/** Parts under way at a time: memory stays below `partSize` times this. */
const partsAtOnce = 2;

interface MultipartBody {
  readonly contents: FileContents;
  readonly signal?: AbortSignal;
}

/**
 * Puts a large object in parts. It appears when the last step is done; on failure the parts are given back,
 * since the bucket's owner would pay for them for ever.
 */
export async function putInParts(
  client: S3Client,
  object: CreateMultipartUploadCommandInput,
  { contents, signal }: MultipartBody,
): Promise<void> {
  const { Bucket, Key } = object;
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(object), { abortSignal: signal });
  const upload = { Bucket, Key, UploadId };
  const done: CompletedPart[] = [];
  const running = new Set<Promise<void>>();
  try {
    let number = 0;
    for await (const Body of inParts(contents)) {
      const PartNumber = ++number;
      if (running.size >= partsAtOnce) await Promise.race(running);
      const sent = client
        .send(new UploadPartCommand({ ...upload, PartNumber, Body }), { abortSignal: signal })
        .then(({ ETag }) => {
          done.push({ PartNumber, ETag });
          running.delete(sent);
        });
      running.add(sent);
      sent.catch(() => {}); // Seen by the race above or by the wait below.
    }
    await Promise.all(running);
    const Parts = done.sort((a, b) => a.PartNumber! - b.PartNumber!);
    const complete = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } });
    await client.send(complete, { abortSignal: signal });
  } catch (error) {
    await Promise.allSettled(running);
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
    throw error;
  }
}

async function* inParts(contents: FileContents): AsyncGenerator<Uint8Array, void, undefined> {
  const size = Math.max(partSize, Math.ceil(contents.size / mostParts));
  let pending: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of contents.open()) {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + size - length);
      pending.push(piece);
      length += piece.length;
      at += piece.length;
      if (length < size) continue;
      yield Buffer.concat(pending);
      pending = [];
      length = 0;
    }
  }
  if (length > 0) yield Buffer.concat(pending);
}
