import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { componentCommand } from './components.js';
import { neutralEnvironment, type S3Endpoint, sharedEngines } from './config.js';
import { startGuarded } from './guarded.js';
import { freePort, makeScratch } from './scratch.js';

/** A running S3 engine; disposing of it ends the engine. */
export interface S3Engine extends S3Endpoint, AsyncDisposable {}

/** An empty bucket on a running engine, and the settings that a client of it needs (path style, no SDK checksums). */
export interface S3Bucket extends S3Endpoint, AsyncDisposable {
  readonly bucket: string;
  readonly client: S3Client;
}

/** Starts an S3 engine of its own: Ceph's RADOS gateway, everything in memory, gone without a trace afterwards. */
export async function startS3(): Promise<S3Engine> {
  const scratch = await makeScratch('s3');
  const [port, monitorPort] = [await freePort(), await freePort()];
  const keys = { accessKeyId: 'testaccess', secretAccessKey: 'testsecret' };
  componentCommand('s3', 'radosgw');
  const gateway = await startGuarded({
    command: fileURLToPath(new URL('../../engines/ceph-gateway.sh', import.meta.url)),
    args: [scratch.path, `${port}`, `${monitorPort}`, keys.accessKeyId, keys.secretAccessKey],
    env: neutralEnvironment(scratch.path),
    isReady: (output) => /^ready$/m.test(output),
  });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    ...keys,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/**
 * Makes an empty bucket, on the engine of the test run or, where there is none, on one started for it:
 * `await using bucket = await openBucket()`.
 */
export async function openBucket(): Promise<S3Bucket> {
  const shared = sharedEngines().s3;
  const own = shared === undefined ? await startS3() : undefined;
  const { endpoint, region, accessKeyId, secretAccessKey } = (shared ?? own) as S3Endpoint;
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const bucket = `test-${randomBytes(8).toString('hex')}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    bucket,
    client,
    async [Symbol.asyncDispose]() {
      // The bucket itself goes with the engine.
      client.destroy();
      await own?.[Symbol.asyncDispose]();
    },
  };
}
