import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CacheInfo } from '@larder/signing/cache-info';
import { formatContentAddress, parseContentAddress } from '@larder/signing/content-address';
import { parseHash } from '@larder/signing/hash';
import type { NarInfo } from '@larder/signing/narinfo';
import { parseStorePath, type StorePath, storePathName } from '@larder/signing/store-path';
import Database from 'better-sqlite3';

export interface NarInfoCacheOptions {
  /** Seconds that a narinfo, and the answer that there is none, are good for. */
  readonly positiveTtl: number;
  readonly negativeTtl: number;
}

/** As Nix makes them (`nar-info-disk-cache.cc`); its table of realisations is left to it. */
const schema = `
  create table if not exists BinaryCaches (id integer primary key autoincrement not null, url text unique not null,
    timestamp integer not null, storeDir text not null, wantMassQuery integer not null, priority integer not null);
  create table if not exists NARs (cache integer not null, hashPart text not null, namePart text, url text,
    compression text, fileHash text, fileSize integer, narHash text, narSize integer, refs text, deriver text, sigs text,
    ca text, timestamp integer not null, present integer not null, primary key (cache, hashPart),
    foreign key (cache) references BinaryCaches(id) on delete cascade);
  create table if not exists Realisations (cache integer not null, outputId text not null, content blob,
    timestamp integer not null, primary key (cache, outputId),
    foreign key (cache) references BinaryCaches(id) on delete cascade);
  create table if not exists LastPurge (dummy text primary key, value integer);
`;

/** Answers that wait to be written, at most: they go together, since each transaction costs. */
const mostPending = 500;

interface NarRow {
  readonly present: number;
  readonly namePart: string;
  readonly url: string;
  readonly compression: string;
  readonly fileHash: string | null;
  readonly fileSize: number | null;
  readonly narHash: string;
  readonly narSize: number;
  readonly refs: string;
  readonly deriver: string | null;
  readonly sigs: string;
  readonly ca: string;
}

/**
 * What caches said of paths, kept between runs in the file that Nix (2.4 to 2.19) keeps it in too, so that either finds what
 * the other has asked. Signatures are kept along and checked at each use. It is a help and no more: where it cannot be
 * used, caches are asked.
 */
export class NarInfoCache {
  readonly #db: Database.Database;
  readonly #options: NarInfoCacheOptions;
  readonly #ids = new Map<string, number>();
  readonly #statements = new Map<string, Database.Statement>();
  #pending: (() => void)[] = [];

  private constructor(db: Database.Database, options: NarInfoCacheOptions) {
    this.#db = db;
    this.#options = options;
  }

  /** Opens the file, making it if need be; `undefined` where that cannot be done. */
  static open(file: string, options: NarInfoCacheOptions): NarInfoCache | undefined {
    // ~/.cache/nix is made where there is a home; a home is not.
    if (!existsSync(dirname(dirname(dirname(file))))) return undefined;
    try {
      mkdirSync(dirname(file), { recursive: true });
      const db = new Database(file, { timeout: 1000 });
      db.pragma('synchronous = off');
      db.exec(schema);
      return new NarInfoCache(db, options);
    } catch {
      return undefined;
    }
  }

  /** What a cache said of itself. */
  queryCacheInfo(url: string): CacheInfo | undefined {
    return this.#attempt(() => {
      const row = this.#prepare<
        [string, number],
        { id: number; storeDir: string; wantMassQuery: number; priority: number }
      >('select id, storeDir, wantMassQuery, priority from BinaryCaches where url = ? and timestamp > ?').get(
        url,
        now() - cacheInfoTtl,
      );
      if (row === undefined) return undefined;
      this.#ids.set(url, row.id);
      return { storeDir: row.storeDir, wantMassQuery: row.wantMassQuery !== 0, priority: row.priority };
    });
  }

  noteCacheInfo(url: string, info: CacheInfo): void {
    this.#attempt(() => {
      const row = this.#prepare<[string, number, string, number, number], { id: number }>(
        `insert into BinaryCaches(url, timestamp, storeDir, wantMassQuery, priority) values (?, ?, ?, ?, ?)
           on conflict (url) do update set timestamp = excluded.timestamp, storeDir = excluded.storeDir,
             wantMassQuery = excluded.wantMassQuery, priority = excluded.priority returning id`,
      ).get(url, now(), info.storeDir, Number(info.wantMassQuery), info.priority);
      if (row !== undefined) this.#ids.set(url, row.id);
    });
  }

  /** What the cache said of a path not long ago: its narinfo, or that there is none (`'absent'`). */
  query(url: string, hashPart: string): NarInfo | 'absent' | undefined {
    const cache = this.#ids.get(url);
    if (cache === undefined) return undefined;
    return this.#attempt(() => {
      const { negativeTtl, positiveTtl } = this.#options;
      const row = this.#prepare<[number, string, number, number], NarRow>(
        `select present, namePart, url, compression, fileHash, fileSize, narHash, narSize, refs, deriver, sigs, ca
           from NARs where cache = ? and hashPart = ?
             and ((present = 0 and timestamp > ?) or (present = 1 and timestamp > ?))`,
      ).get(cache, hashPart, now() - negativeTtl, now() - positiveTtl);
      if (row === undefined) return undefined;
      return row.present === 0 ? 'absent' : readRow(hashPart, row);
    });
  }

  note(url: string, hashPart: string, info: NarInfo | undefined): void {
    const cache = this.#ids.get(url);
    if (cache === undefined) return;
    const timestamp = now();
    this.#pending.push(() => this.#insert({ cache, hashPart, timestamp }, info));
    if (this.#pending.length >= mostPending) this.#flush();
  }

  /** Something showed that an answer no longer holds. */
  forget(url: string, hashPart: string): void {
    this.#flush();
    this.#attempt(() =>
      this.#prepare(
        'delete from NARs where hashPart = ? and cache = (select id from BinaryCaches where url = ?)',
      ).run(hashPart, url),
    );
  }

  /** Something was published to a cache: what it did not have it may have now. */
  forgetAbsent(url: string): void {
    this.#flush();
    this.#attempt(() =>
      this.#prepare(
        'delete from NARs where present = 0 and cache = (select id from BinaryCaches where url = ?)',
      ).run(url),
    );
  }

  close(): void {
    this.#flush();
    this.#attempt(() => this.#purge());
    this.#db.close();
  }

  #insert(
    {
      cache,
      hashPart,
      timestamp,
    }: { readonly cache: number; readonly hashPart: string; readonly timestamp: number },
    info: NarInfo | undefined,
  ): void {
    if (info === undefined) {
      this.#prepare(
        'insert or replace into NARs(cache, hashPart, timestamp, present) values (?, ?, ?, 0)',
      ).run(cache, hashPart, timestamp);
      return;
    }
    this.#prepare(
      `insert or replace into NARs(cache, hashPart, namePart, url, compression, fileHash, fileSize, narHash, narSize, refs,
           deriver, sigs, ca, timestamp, present) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
    ).run(
      ...[cache, hashPart, storePathName(info.storePath), info.url, info.compression],
      ...[info.fileHash?.format('nix32') ?? null, info.fileSize ?? null],
      ...[info.narHash.format('nix32'), info.narSize, info.references.join(' ')],
      ...[info.deriver ?? null, info.signatures.join(' ')],
      ...[info.ca === undefined ? '' : formatContentAddress(info.ca), timestamp],
    );
  }

  #flush(): void {
    const pending = this.#pending;
    this.#pending = [];
    if (pending.length === 0) return;
    this.#attempt(() => {
      this.#db.transaction(() => {
        for (const insert of pending) insert();
      })();
    });
  }

  /** Forgets, once a day, what is too old; for longer than a short time-to-live would have it, as Nix does. */
  #purge(): void {
    const last = this.#prepare<[], { value: number }>('select value from LastPurge').get();
    if (last !== undefined && last.value >= now() - day) return;
    const { negativeTtl, positiveTtl } = this.#options;
    this.#prepare(
      'delete from NARs where (present = 0 and timestamp < ?) or (present = 1 and timestamp < ?)',
    ).run(now() - Math.max(negativeTtl, 3600), now() - Math.max(positiveTtl, 30 * day));
    this.#prepare("insert or replace into LastPurge(dummy, value) values ('', ?)").run(now());
  }

  /** Thousands of narinfos are looked up and written by the same few statements. */
  #prepare<Parameters extends unknown[] = unknown[], Row = unknown>(
    text: string,
  ): Database.Statement<Parameters, Row> {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement as Database.Statement<Parameters, Row>;
  }

  /** Whatever fails here, a lock that another holds for long among it, only means that the cache is asked. */
  #attempt<Result>(action: () => Result): Result | undefined {
    try {
      return action();
    } catch {
      return undefined;
    }
  }
}

const day = 24 * 3600;

/** Seconds for which a cache is taken for what it said of itself. */
const cacheInfoTtl = 7 * day;

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function readRow(hashPart: string, row: NarRow): NarInfo {
  const paths = (text: string): StorePath[] => words(text).map((path) => parseStorePath(path));
  return {
    storePath: parseStorePath(`${hashPart}-${row.namePart}`),
    url: row.url,
    compression: row.compression,
    ...(row.fileHash === null ? {} : { fileHash: parseHash(row.fileHash) }),
    ...(row.fileSize === null ? {} : { fileSize: row.fileSize }),
    narHash: parseHash(row.narHash),
    narSize: row.narSize,
    references: paths(row.refs).sort(),
    ...(row.deriver === null ? {} : { deriver: parseStorePath(row.deriver) }),
    signatures: words(row.sigs),
    ...(row.ca === '' ? {} : { ca: parseContentAddress(row.ca) }),
  };
}

function words(text: string): string[] {
  return text.split(' ').filter((word) => word !== '');
}
