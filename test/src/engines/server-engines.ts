import type { S3Bucket } from './s3.js';

/** The part of a server's configuration that has it keep everything on other machines, in parts as small as S3 lets them be. */
export function remoteEngines(
  bucket: Omit<S3Bucket, typeof Symbol.asyncDispose>,
  database: { readonly url: string },
): string {
  return `
[storage]
engine = "s3"
bucket = "${bucket.bucket}"
endpoint = "${bucket.endpoint}"
access_key_id = "${bucket.accessKeyId}"
secret_access_key = "${bucket.secretAccessKey}"
part_size = "5 MiB"
[database]
engine = "postgresql"
url = "${database.url}"
`;
}
