import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import Database from 'better-sqlite3';
import type { PushTarget } from './push-target.js';

/** A path that waits to be pushed. Times are milliseconds since the epoch. */
export interface PushJob {
  readonly id: number;
  readonly target: number;
  readonly path: StorePath;
  readonly queued: number;
  /** Failed tries so far. */
  readonly attempts: number;
  /** Not to be tried before. */
  readonly due: number;
  readonly error: string | null;
}

/** What waits for one target. */
export interface QueueSummary {
  readonly target: PushTarget;
  readonly waiting: number;
  /** Of those, how many failed at least once. */
  readonly failing: number;
  readonly oldest: number;
  /** When the next is tried. */
  readonly due: number;
  /** Why the last try failed. */
  readonly error: string | null;
}

const SCHEMA = `
create table if not exists targets (id integer primary key, options text unique not null);
create table if not exists jobs (
    id       integer primary key autoincrement,
    target   integer not null references targets(id),
    path     text not null,
    queued   integer not null,
    attempts integer not null default 0,
    due      integer not null default 0,
    error    text,
    unique (target, path)
);
create index if not exists jobs_due on jobs(target, due);
create table if not exists positions (watch text primary key, position integer not null);
create table if not exists worker (one integer primary key check (one = 1), pid integer not null);
`;

/** Long enough for any other process's transaction, in milliseconds. */
const busyTimeout = 60_000;

/** How long the first failure puts a path off, and the longest pause, in milliseconds. */
const firstPause = 1_000;
const longestPause = 300_000;

/**
 * Paths to be pushed, in a file that several processes share: hooks add to it and a worker takes from it. A path leaves it
 * only once it is in its cache, so whoever is killed at whatever moment loses none.
 */
export class PushQueue {
  readonly file: string;
  readonly #db: Database.Database;

  private constructor(file: string, db: Database.Database) {
    this.file = file;
    this.#db = db;
  }

  /**
   * Opens the queue, making it if there is none. `patience` is how long another process's transaction is waited for, in
   * milliseconds.
   * @throws `queue-unusable`
   */
  static open(file: string, { patience = busyTimeout }: { readonly patience?: number } = {}): PushQueue {
    try {
      mkdirSync(dirname(file), { recursive: true });
      const db = new Database(file, { timeout: patience });
      db.pragma('journal_mode = wal');
      // Whoever was told that a path is queued may rely on it, also when the power fails.
      db.pragma('synchronous = full');
      db.pragma('foreign_keys = on');
      if (db.pragma('user_version', { simple: true }) === 0) {
        db.exec(SCHEMA);
        db.pragma('user_version = 1');
      }
      return new PushQueue(file, db);
    } catch (error) {
      throw new LarderError(
        'queue-unusable',
        `the queue ${file} cannot be used; name another with --queue FILE`,
        { cause: error, fields: { file } },
      );
    }
  }

  close(): void {
    this.#db.close();
  }

  /**
   * Adds paths; those that wait for the same target already keep their place and are due at once. Gives the process that
   * noted itself as worker: if it still runs, it will see them.
   */
  add(target: PushTarget, paths: readonly StorePath[]): number | undefined {
    const options = JSON.stringify(target);
    return this.#db
      .transaction(() => {
        this.#db.prepare('insert or ignore into targets (options) values (?)').run(options);
        const find = this.#db.prepare<[string], number>('select id from targets where options = ?').pluck();
        const id = find.get(options);
        const insert = this.#db.prepare(
          `insert into jobs (target, path, queued) values (?, ?, ?)
           on conflict (target, path) do update set due = 0`,
        );
        for (const path of paths) insert.run(id, path, Date.now());
        return this.#db.prepare<[], number>('select pid from worker').pluck().get();
      })
      .immediate();
  }

  /** Notes a process as the one that works the queue off. */
  noteWorker(pid: number): void {
    this.#db.prepare('insert or replace into worker values (1, ?)').run(pid);
  }

  /**
   * The worker leaves, unless there is something to do. Crash invariant: whoever adds a path sees in the same transaction
   * whether a worker is noted, so a path is either seen by the worker here, or starts a new one.
   */
  leaveIfEmpty(pid: number): boolean {
    return this.#db
      .transaction(() => {
        if (this.size > 0) return false;
        this.#db.prepare('delete from worker where pid = ?').run(pid);
        return true;
      })
      .immediate();
  }

  /** Targets that have something due now. */
  dueTargets(): { readonly id: number; readonly target: PushTarget }[] {
    const rows = this.#db
      .prepare<[number], { id: number; options: string }>(
        'select id, options from targets where exists (select 1 from jobs where target = targets.id and due <= ?)',
      )
      .all(Date.now());
    return rows.map(({ id, options }) => ({ id, target: JSON.parse(options) as PushTarget }));
  }

  /** A target's next jobs, the oldest first. */
  dueJobs(target: number, limit: number): PushJob[] {
    return this.#db
      .prepare<[number, number, number], PushJob>(
        'select * from jobs where target = ? and due <= ? order by attempts, id limit ?',
      )
      .all(target, Date.now(), limit);
  }

  /** Takes jobs off: their paths are in the cache, or are no more. */
  finish(jobs: readonly PushJob[]): void {
    const remove = this.#db.prepare('delete from jobs where id = ?');
    this.#db
      .transaction(() => {
        for (const { id } of jobs) remove.run(id);
      })
      .immediate();
  }

  /** Puts jobs off: longer after each failure, with chance in it so that they spread. */
  postpone(jobs: readonly PushJob[], error: string): void {
    const update = this.#db.prepare(
      'update jobs set attempts = attempts + 1, due = ?, error = ? where id = ?',
    );
    this.#db
      .transaction(() => {
        for (const { id, attempts } of jobs) {
          const pause = Math.min(longestPause, firstPause * 2 ** attempts);
          update.run(Math.round(Date.now() + pause * (0.5 + Math.random() / 2)), error, id);
        }
      })
      .immediate();
  }

  /** Makes everything due now. */
  hurry(): void {
    this.#db.prepare('update jobs set due = 0').run();
  }

  /** Whether any target still waits for the path. */
  has(path: StorePath): boolean {
    return this.#db.prepare('select 1 from jobs where path = ?').get(path) !== undefined;
  }

  get size(): number {
    return this.#db.prepare<[], number>('select count(*) from jobs').pluck().get() ?? 0;
  }

  /** When the next job is due, or `undefined` for an empty queue. */
  get nextDue(): number | undefined {
    return this.#db.prepare<[], number | null>('select min(due) from jobs').pluck().get() ?? undefined;
  }

  /** Failures so far of what waits now, by job. */
  attempts(): Map<number, number> {
    const rows = this.#db
      .prepare<[], { id: number; attempts: number }>('select id, attempts from jobs')
      .all();
    return new Map(rows.map(({ id, attempts }) => [id, attempts]));
  }

  summaries(): QueueSummary[] {
    const rows = this.#db
      .prepare<[], Omit<QueueSummary, 'target'> & { options: string }>(
        `select options, count(*) as waiting, sum(attempts > 0) as failing, min(queued) as oldest, min(due) as due,
           (select error from jobs e where e.target = t.id and error is not null order by attempts desc limit 1) as error
         from targets t join jobs on jobs.target = t.id group by t.id order by t.id`,
      )
      .all();
    return rows.map(({ options, ...rest }) => ({ ...rest, target: JSON.parse(options) as PushTarget }));
  }

  /** How far a watcher of a store has come. */
  position(watch: string): number | undefined {
    return this.#db
      .prepare<[string], number>('select position from positions where watch = ?')
      .pluck()
      .get(watch);
  }

  /** Queues what a watcher found and notes how far it has come, both or neither. */
  addWatched(
    watch: string,
    found: { readonly target: PushTarget; readonly paths: readonly StorePath[]; readonly position: number },
  ): void {
    this.#db
      .transaction(() => {
        if (found.paths.length > 0) this.add(found.target, found.paths);
        this.#db
          .prepare(
            'insert into positions values (?, ?) on conflict (watch) do update set position = excluded.position',
          )
          .run(watch, found.position);
      })
      .immediate();
  }
}
