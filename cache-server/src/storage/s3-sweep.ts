import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  paginateListObjectsV2,
  type S3Client,
} from '@aws-sdk/client-s3';
import { STAGING_PREFIX } from './object-key.js';

export interface SweptBucket {
  readonly bucket: string;
  /** Empty, or ending in a slash. */
  readonly prefix: string;
}

/** Aborts multipart uploads begun before `before`; gives how many. */
export async function sweepUploads(client: S3Client, bucket: SweptBucket, before: Date): Promise<number> {
  let removed = 0;
  let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
  while (marker !== undefined) {
    const page: ListMultipartUploadsCommandOutput = await client.send(
      new ListMultipartUploadsCommand({ Bucket: bucket.bucket, Prefix: bucket.prefix, ...marker }),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Initiated === undefined || Initiated >= before) continue;
      await client.send(new AbortMultipartUploadCommand({ Bucket: bucket.bucket, Key, UploadId }));
      removed++;
    }
    marker =
      page.IsTruncated === true
        ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
        : undefined;
  }
  return removed;
}

/** Deletes objects that were staged before `before` and never published; gives how many. */
export async function sweepStaged(client: S3Client, bucket: SweptBucket, before: Date): Promise<number> {
  let removed = 0;
  const pages = paginateListObjectsV2(
    { client },
    { Bucket: bucket.bucket, Prefix: `${bucket.prefix}${STAGING_PREFIX}/` },
  );
  for await (const page of pages)
    for (const { Key, LastModified } of page.Contents ?? []) {
      if (LastModified === undefined || LastModified >= before) continue;
      await client.send(new DeleteObjectCommand({ Bucket: bucket.bucket, Key }));
      removed++;
    }
  return removed;
}
