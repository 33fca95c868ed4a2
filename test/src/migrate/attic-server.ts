import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import SqliteDatabase from 'better-sqlite3';
import pg from 'pg';
import { componentCommand } from '../engines/components.js';
import type { S3Bucket } from '../engines/s3.js';
import { runProgram } from '../oracle/program.js';
import { type AtticLayout, atticSchema } from './attic-schema.js';

/** What attic calls compressions in its tables (`Compression::as_str` in its `narinfo/mod.rs`); chunks of any can be of one cache. */
export type AtticCompression = 'none' | 'br' | 'zstd' | 'xz';

export interface AtticServerOptions {
  /** A file, or a `postgres://` URL. */
  readonly database: string;
  /** A directory, or a bucket. */
  readonly storage: string | S3Bucket;
  readonly layout?: AtticLayout;
}

type Row = Readonly<Record<string, string | number | boolean | null>>;

/**
 * What an attic server leaves behind: a database with its tables, and chunks in a storage, each written as its upload handler
 * does (`api/v1/upload_path.rs`, `storage/local.rs`, `storage/s3.rs`). No attic can be had to fill them.
 */
export class AtticServer implements AsyncDisposable {
  readonly layout: AtticLayout;
  readonly database: string;
  readonly #storage: string | S3Bucket;
  readonly #query: (sql: string, values: readonly unknown[]) => Promise<readonly { id: number }[]>;
  readonly #end: () => Promise<void>;
  readonly #chunks = new Map<string, number>();

  private constructor(options: AtticServerOptions, engine: Pick<AtticEngine, 'query' | 'end'>) {
    this.layout = options.layout ?? 'now';
    this.database = options.database;
    this.#storage = options.storage;
    this.#query = engine.query;
    this.#end = engine.end;
  }

  static async create(options: AtticServerOptions): Promise<AtticServer> {
    const engine = await openEngine(options.database);
    for (const statement of atticSchema(engine.dialect, options.layout ?? 'now'))
      await engine.query(statement, []);
    const server = new AtticServer(options, engine);
    // Written when it starts; a storage without is of before, when all files lay side by side.
    if (typeof options.storage === 'string') {
      await mkdir(options.storage, { recursive: true });
      if (server.layout !== 'files') await writeFile(join(options.storage, 'VERSION'), '1');
    }
    return server;
  }

  async insert(table: string, row: Row): Promise<number> {
    const columns = Object.keys(row).map((name) => `"${name}"`);
    const places = columns.map((_, index) => `$${index + 1}`);
    const sql = `INSERT INTO "${table}" (${columns.join(', ')}) VALUES (${places.join(', ')}) RETURNING "id"`;
    return Number((await this.#query(sql, Object.values(row)))[0]?.id);
  }

  /** Runs a statement that damages something. */
  async spoil(sql: string): Promise<void> {
    await this.#query(sql, []);
  }

  /** The first column of the first row. */
  async ask(sql: string): Promise<string> {
    return String(Object.values((await this.#query(sql, []))[0] ?? {})[0]);
  }

  addCache(cache: {
    readonly name: string;
    readonly keypair: string;
    readonly public: boolean;
    readonly priority?: number;
    readonly retention?: number;
    readonly upstreams?: readonly string[];
    readonly deleted?: boolean;
  }): Promise<number> {
    return this.insert('cache', {
      name: cache.name,
      keypair: cache.keypair,
      is_public: cache.public,
      store_dir: '/nix/store',
      // The client's own default, as is the key name.
      priority: cache.priority ?? 41,
      upstream_cache_key_names: JSON.stringify(cache.upstreams ?? ['cache.nixos.org-1']),
      created_at: TIME,
      deleted_at: cache.deleted === true ? TIME : null,
      retention_period: cache.retention ?? null,
    });
  }

  /**
   * Stores a NAR as its upload would: cut into chunks from 64 KiB on, each stored once for each compression. (Attic cuts where a
   * rolling hash says; nobody who reads them can tell.)
   */
  async addNar(nar: Buffer, compression: AtticCompression): Promise<number> {
    const row = { state: 'V', nar_hash: hexHash(nar), nar_size: nar.length, compression, created_at: TIME };
    if (this.layout === 'files') {
      const { remote_file, remote_file_id, file_hash, file_size } = await this.#putFile(nar, compression);
      return this.insert('nar', { ...row, remote_file, remote_file_id, file_hash, file_size });
    }
    const pieces = nar.length < THRESHOLD ? [nar] : cut(nar);
    const id = await this.insert('nar', { ...row, num_chunks: pieces.length });
    for (const [seq, piece] of pieces.entries()) {
      const kept: Row = this.layout === 'chunks' ? { chunk_hash: hexHash(piece), compression } : {};
      await this.insert('chunkref', {
        nar_id: id,
        seq,
        chunk_id: await this.addChunk(piece, compression),
        ...kept,
      });
    }
    return id;
  }

  async addChunk(piece: Buffer, compression: AtticCompression): Promise<number> {
    const name = `${hexHash(piece)}/${compression}`;
    const known = this.#chunks.get(name);
    if (known !== undefined) return known;
    const id = await this.insert('chunk', {
      state: 'V',
      chunk_hash: hexHash(piece),
      chunk_size: piece.length,
      compression,
      created_at: TIME,
      ...(await this.#putFile(piece, compression)),
    });
    this.#chunks.set(name, id);
    return id;
  }

  addObject(
    cacheId: number,
    narId: number,
    object: {
      readonly storePath: string;
      readonly references?: readonly string[];
      readonly sigs?: readonly string[];
      readonly ca?: string;
    },
  ): Promise<number> {
    const baseName = (path: string): string => path.replace('/nix/store/', '');
    return this.insert('object', {
      cache_id: cacheId,
      nar_id: narId,
      store_path_hash: baseName(object.storePath).slice(0, 32),
      store_path: object.storePath,
      references: JSON.stringify((object.references ?? []).map(baseName)),
      system: null,
      deriver: null,
      sigs: JSON.stringify(object.sigs ?? []),
      ca: object.ca ?? null,
      created_at: TIME,
    });
  }

  async #putFile(bytes: Buffer, compression: AtticCompression) {
    const stored = await compress(bytes, compression);
    const name = `${randomUUID()}.${this.layout === 'files' ? 'nar' : 'chunk'}`;
    const facts = { file_hash: hexHash(stored), file_size: stored.length };
    if (typeof this.#storage !== 'string') {
      const { client, bucket, region } = this.#storage;
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: stored }));
      const remote_file = JSON.stringify({ S3: { region, bucket, key: name } });
      return { ...facts, remote_file, remote_file_id: `s3:${region}/${bucket}/${name}` };
    }
    const path = join(
      this.#storage,
      this.layout === 'files' ? name : `${name[0]}/${name.slice(0, 2)}/${name}`,
    );
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, stored);
    return { ...facts, remote_file: JSON.stringify({ Local: { name } }), remote_file_id: `local:${name}` };
  }

  /** Ends the connection, as the server's end would. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

const TIME = '2024-02-03 04:05:06.789+00:00';
/** `chunking.nar-size-threshold` of its config-template.toml. */
const THRESHOLD = 65536;

/** Pieces of 16 to 64 KiB, of sizes that follow from what is in them. */
function cut(nar: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < nar.length; ) {
    const size = 16384 + ((nar[at] ?? 0) % 4) * 16384;
    pieces.push(nar.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

async function compress(bytes: Buffer, compression: AtticCompression): Promise<Buffer> {
  if (compression === 'none') return bytes;
  if (compression === 'br') return brotliCompressSync(bytes);
  return runProgram(componentCommand('compressors', compression), ['-c', '-q'], { input: bytes });
}

export function hexHash(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

interface AtticEngine {
  readonly dialect: 'sqlite' | 'postgresql';
  readonly query: (sql: string, values: readonly unknown[]) => Promise<readonly { id: number }[]>;
  readonly end: () => Promise<void>;
}

async function openEngine(database: string): Promise<AtticEngine> {
  if (database.startsWith('postgres')) {
    const client = new pg.Client({ connectionString: database });
    await client.connect();
    return {
      dialect: 'postgresql',
      query: async (sql, values) => (await client.query<{ id: number }>(sql, [...values])).rows,
      end: () => client.end(),
    };
  }
  const opened = new SqliteDatabase(database);
  // As attic opens it (`lib.rs`).
  opened.pragma('journal_mode=WAL');
  return {
    dialect: 'sqlite',
    query: async (sql, values) => {
      const statement = opened.prepare<unknown[], { id: number }>(sql.replaceAll(/\$\d+/g, '?'));
      const bound = values.map((value) => (typeof value === 'boolean' ? Number(value) : value));
      if (statement.reader) return statement.all(...bound);
      statement.run(...bound);
      return [];
    },
    end: async () => void opened.close(),
  };
}

/** Hashes of all files below a directory, by name: what a migration must leave as it was. */
export async function fingerprintOf(directory: string): Promise<Map<string, string>> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(files.sort().map(async (file) => [file, hexHash(await readFile(file))] as const)),
  );
}
