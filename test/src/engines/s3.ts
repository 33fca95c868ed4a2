import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { componentCommand } from './components.js';
import { neutralEnvironment, type S3Endpoint, sharedEngines } from './config.js';
import { engineScript, killByFile, startGuarded } from './guarded.js';
import { freePort, makeScratch } from './scratch.js';

/** A running S3 engine; disposing of it ends the engine. */
export interface S3Engine extends S3Endpoint, AsyncDisposable {}

/** An empty bucket on a running engine, and the settings that a client of it needs (path style, no SDK checksums). */
export interface S3Bucket extends S3Endpoint, AsyncDisposable {
  readonly bucket: string;
  readonly client: S3Client;
}

/** One whose gateway is started again when it was killed: what it confirmed is there then. */
export interface RestartingS3 extends S3Engine {
  /** Kills the gateway without warning. */
  kill(): Promise<void>;
}

/** Starts an S3 engine of its own: Ceph's RADOS gateway, everything in memory, gone without a trace afterwards. */
export async function startS3(): Promise<S3Engine> {
  const { kill: _, ...engine } = await start([]);
  return engine;
}

/** Starts one whose gateway comes back, `pause` seconds after it was killed. */
export async function startRestartingS3(pause: number): Promise<RestartingS3> {
  return start([`${pause}`]);
}

async function start(args: readonly string[]): Promise<RestartingS3> {
  const scratch = await makeScratch('s3');
  const [port, monitorPort] = [await freePort(), await freePort()];
  const keys = { accessKeyId: 'testaccess', secretAccessKey: 'testsecret' };
  componentCommand('s3', 'radosgw');
  const gateway = await startGuarded({
    command: engineScript('ceph-gateway.sh'),
    args: [scratch.path, `${port}`, `${monitorPort}`, keys.accessKeyId, keys.secretAccessKey, ...args],
    env: neutralEnvironment(scratch.path),
    isReady: (output) => /^ready$/m.test(output),
  });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    ...keys,
    kill: () => killByFile(scratch.join('gateway.pid')),
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
  const bucket = await createBucket((shared ?? own) as S3Endpoint);
  return {
    ...bucket,
    async [Symbol.asyncDispose]() {
      // The bucket itself goes with the engine.
      bucket.client.destroy();
      await own?.[Symbol.asyncDispose]();
    },
  };
}

/** Makes an empty bucket on this engine. */
export async function createBucket(engine: S3Endpoint): Promise<Omit<S3Bucket, typeof Symbol.asyncDispose>> {
  const { endpoint, region, accessKeyId, secretAccessKey } = engine;
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
  return { endpoint, region, accessKeyId, secretAccessKey, bucket, client };
}
