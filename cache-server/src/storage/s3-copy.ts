import { CopyObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { copySource, type MultipartTarget, MultipartUpload } from './s3-multipart.js';

/** Most bytes that one CopyObject takes. */
const COPY_LIMIT = 5 * 1024 ** 3;
const COPY_PART_SIZE = 1024 ** 3;

export interface CopyTarget extends MultipartTarget {
  /** The source's key, with the storage's prefix. */
  readonly from: string;
  /** Bytes of the source. */
  readonly size: number;
}

/** Copies an object to another key without moving its bytes through here; large ones part by part. */
export async function copyWithinBucket(client: S3Client, target: CopyTarget): Promise<void> {
  if (target.size > COPY_LIMIT) return copyInParts(client, target);
  await client.send(
    new CopyObjectCommand({
      Bucket: target.bucket,
      Key: target.key,
      CopySource: copySource(target.bucket, target.from),
      ContentType: target.contentType,
      MetadataDirective: 'REPLACE',
    }),
    target.signal === undefined ? {} : { abortSignal: target.signal },
  );
}

async function copyInParts(client: S3Client, target: CopyTarget): Promise<void> {
  const upload = await MultipartUpload.create(client, target);
  try {
    for (let at = 0; at < target.size; at += COPY_PART_SIZE)
      await upload.addCopy(target.from, at, Math.min(at + COPY_PART_SIZE, target.size) - 1);
    await upload.complete();
  } catch (error) {
    await upload.abort();
    throw error;
  }
}
