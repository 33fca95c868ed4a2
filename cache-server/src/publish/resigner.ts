import { formatFingerprint } from '@larder/signing/fingerprint';
import { formatNarInfo } from '@larder/signing/narinfo';
import { parseSignature } from '@larder/signing/signature';
import { signPathInfo, TrustedKeys } from '@larder/signing/trust';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryResignJob, type ResignJobRow, replaceResignJob } from '../database/tables/resign-jobs.js';
import type { Leases } from '../leases/leases.js';
import { parsePublished } from './narinfo-text.js';
import type { Publisher } from './publisher.js';

export interface ResignerOptions {
  readonly database: Database;
  readonly publisher: Publisher;
  readonly leases: Leases;
  readonly logger: Logger;
}

/** Paths in one step. */
const STEP = 100;

/**
 * Brings signatures up to date with a cache's keys after a rotation: of each narinfo as it is read, and of all in a job that
 * any replica goes on with. Only what a key of the cache vouched for already gets its others: what came from elsewhere with
 * other signatures is not ours to sign.
 */
export class Resigner {
  readonly #options: ResignerOptions;
  readonly #running = new Set<Promise<void>>();
  /** Paths whose new signatures are being written. */
  readonly #writing = new Set<string>();
  #isStopping = false;

  constructor(options: ResignerOptions) {
    this.#options = options;
  }

  /** A published narinfo with all signatures it should have. What it lacked is written down while the reader goes on. */
  complete(cache: Cache, hashPart: string, text: string): string {
    // Nearly always all are there, and looking for their names is enough.
    if (cache.signingKeys.every((key) => text.includes(`\nSig: ${key.name}:`))) return text;
    const signed = resign(cache, text, { dropRetired: false });
    if (signed === undefined) return text;
    const key = `${cache.id}/${hashPart}`;
    if (!this.#writing.has(key) && this.#writing.size < 1000 && !this.#isStopping) {
      this.#writing.add(key);
      this.#run(
        cache,
        async () => {
          await this.#options.publisher.rewrite(cache, [hashPart], (each) =>
            resign(cache, each, { dropRetired: false }),
          );
        },
        () => this.#writing.delete(key),
      );
    }
    return signed;
  }

  /** Begins to sign all paths anew, from the start. */
  async start(cache: Cache, { dropRetired }: { readonly dropRetired: boolean }): Promise<ResignJobRow> {
    const job = {
      cache_id: cache.id,
      drop_retired: dropRetired ? 1 : 0,
      cursor: '',
      seen: 0,
      changed: 0,
      started_at: Date.now(),
      finished_at: null,
    };
    await replaceResignJob(this.#options.database.write, job);
    this.#run(cache, () => this.resume(cache));
    return job;
  }

  find(cache: Cache): Promise<ResignJobRow | undefined> {
    return queryResignJob(this.#options.database.read, cache.id);
  }

  /** Goes on with a job that nobody works on; resolves when there is none, or it has ended. */
  async resume(cache: Cache): Promise<void> {
    const { database, leases } = this.#options;
    const waiting = await queryResignJob(database.read, cache.id);
    if (waiting === undefined || waiting.finished_at !== null) return;
    const lease = await leases.tryTake(cache.id, ['job/resign']);
    if (lease === undefined) return;
    await using _ = lease;
    while (!this.#isStopping) {
      const job = await queryResignJob(database.write, cache.id);
      if (job === undefined || job.finished_at !== null) break;
      await this.#step(cache, job);
    }
    await lease.release();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
  }

  async #step(cache: Cache, job: ResignJobRow): Promise<void> {
    const { database, publisher } = this.#options;
    const rows = await database.write
      .selectFrom('paths')
      .select('hash_part')
      .where('cache_id', '=', cache.id)
      .where('hash_part', '>', job.cursor)
      .orderBy('hash_part')
      .limit(STEP)
      .execute();
    const hashParts = rows.map((row) => row.hash_part);
    const changed = await publisher.rewrite(cache, hashParts, (text) =>
      resign(cache, text, { dropRetired: job.drop_retired === 1 }),
    );
    await database.write
      .updateTable('resign_jobs')
      .set({
        cursor: hashParts.at(-1) ?? job.cursor,
        seen: job.seen + rows.length,
        changed: job.changed + changed,
        ...(rows.length < STEP ? { finished_at: Date.now() } : {}),
      })
      .where('cache_id', '=', cache.id)
      // One that was begun anew meanwhile goes from its own start.
      .where('started_at', '=', job.started_at)
      .execute();
  }

  #run(cache: Cache, work: () => Promise<void>, done = (): void => undefined): void {
    const running = work()
      .catch((error: unknown) => {
        this.#options.logger.warn({ cache: cache.name, err: error }, 'cannot sign anew yet');
      })
      .finally(() => {
        this.#running.delete(running);
        done();
      });
    this.#running.add(running);
  }
}

/** @returns the narinfo with the signatures it should have; `undefined` where that changes nothing */
export function resign(
  cache: Cache,
  text: string,
  { dropRetired }: { readonly dropRetired: boolean },
): string | undefined {
  const info = parsePublished(text, cache.storeDir);
  const own = new TrustedKeys(cache.publicKeys);
  // The index may have been rebuilt from a bucket that others can write to: a name alone is no proof.
  if (own.verifyText(formatFingerprint(info, cache.storeDir), info.signatures).length === 0) return undefined;
  const active = new Set(cache.signingKeys.map((key) => key.name));
  const retired = new Set(cache.publicKeys.map((key) => key.name).filter((name) => !active.has(name)));
  const kept = info.signatures.filter(
    (signature) => !dropRetired || !retired.has(parseSignature(signature).keyName),
  );
  const signed = signPathInfo({ ...info, signatures: kept }, cache.signingKeys, cache.storeDir);
  const isSame =
    signed.signatures.length === info.signatures.length &&
    signed.signatures.every((signature) => info.signatures.includes(signature));
  return isSame ? undefined : formatNarInfo(signed, cache.storeDir);
}
