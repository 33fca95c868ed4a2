import { type TestContext, test } from 'node:test';
import { type Database, openDatabase } from '@larder/cache-server/database/database';
import { insertCache } from '@larder/cache-server/database/tables/caches';
import { NarReader } from '@larder/cache-server/nars/nar-reader';
import { DiskStorage } from '@larder/cache-server/storage/disk';
import { S3Storage } from '@larder/cache-server/storage/s3';
import type { ObjectStorage } from '@larder/cache-server/storage/storage';
import { SecretKey } from '@larder/signing/key';
import fc from 'fast-check';
import { needsComponent } from '../engines/components.js';
import { openDatabase as openPostgres } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch } from '../engines/scratch.js';
import { defaultStoreDir } from '../store-dir.js';
import { checkEnd, type Model, makePaths, type Real } from './life-model.js';
import { steps } from './life-steps.js';
import { Replica } from './replica.js';

/** `LARDER_MODEL_ROUNDS=500 npm test -- collection-model` looks harder. */
const rounds = Number(process.env.LARDER_MODEL_ROUNDS ?? 12);

interface Engines {
  /** One a replica. */
  readonly databases: readonly Database[];
  readonly storage: ObjectStorage;
}

/**
 * Whatever clients, collections, deaths and time do in whatever order: nothing that is wanted is lost, no narinfo dangles, and
 * in the end all that may go is gone.
 */
async function explore({ databases, storage }: Engines, numRuns: number): Promise<void> {
  await using reader = new NarReader({ level: 1, maxSize: 2 ** 20, workers: 1 });
  const key = SecretKey.generate('test-1');
  const replicas = databases.map((database) => new Replica(database, storage, reader));
  let runs = 0;
  const property = fc.asyncProperty(
    fc.commands(steps, { maxCommands: 25, size: 'max' }),
    async (commands) => {
      const name = `run-${++runs}`;
      const row = await insertCache((databases[0] as Database).write, {
        name,
        public: 1,
        priority: 30,
        store_dir: '/nix/store',
        created_at: 1,
        settings: '{}',
      });
      const real: Real = {
        replicas,
        cache: {
          id: row?.id ?? 0,
          name,
          public: true,
          priority: 30,
          storeDir: defaultStoreDir,
          options: { retention: { age: 86_400_000 } },
          signingKeys: [key],
          publicKeys: [key.publicKey()],
        },
        ...makePaths(name),
      };
      const model: Model = { fresh: new Set(), pins: new Map() };
      await fc.asyncModelRun(() => ({ model, real }), commands);
      await checkEnd(model, real);
    },
  );
  // The same runs each time, unless asked to look further: LARDER_MODEL_SEED=$RANDOM.
  const seed = Number(process.env.LARDER_MODEL_SEED ?? 1);
  await fc.assert(property, { numRuns, seed, endOnFailure: false, interruptAfterTimeLimit: 600_000 });
}

test('collection is safe and complete: one replica on SQLite and disk', async () => {
  await using scratch = await makeScratch('model');
  await using database = await openDatabase({ engine: 'sqlite', path: scratch.join('larder.db') });
  const storage = await DiskStorage.open(scratch.join('storage'));
  await explore({ databases: [database], storage }, rounds);
});

test('collection is safe and complete: two replicas on PostgreSQL and S3', async (t: TestContext) => {
  if (!needsComponent(t, 's3') || !needsComponent(t, 'postgresql')) return;
  await using bucket = await openBucket();
  await using database = await openPostgres();
  const options = { engine: 'postgresql', url: database.url, connections: 8 } as const;
  await using first = await openDatabase(options);
  await using second = await openDatabase(options);
  await using storage = new S3Storage({
    bucket: bucket.bucket,
    endpoint: bucket.endpoint,
    credentials: bucket,
  });
  await explore({ databases: [first, second], storage }, Math.max(2, Math.floor(rounds / 4)));
});
