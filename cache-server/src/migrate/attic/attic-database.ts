import type { Kysely } from 'kysely';
import { ServerError } from '../../errors.js';
import type { AtticSchema } from './attic-schema.js';
import { openAttic } from './open-attic.js';

/** A cache of an attic server. */
export interface AtticCache {
  readonly id: number;
  readonly name: string;
  readonly keypair: string;
  readonly public: boolean;
  readonly storeDir: string;
  readonly priority: number;
  readonly upstreamKeyNames: readonly string[];
  /** Seconds since a path was last pushed or fetched; 0 for ever; `undefined` for the server's default. */
  readonly retention: number | undefined;
}

/** What of an object its place among others depends on. */
export interface AtticEntry {
  readonly id: number;
  readonly hashPart: string;
  /** Base names, as JSON. */
  readonly references: string;
}

/** An object with its NAR, as the tables have them. */
export interface AtticObject {
  readonly id: number;
  readonly store_path_hash: string;
  readonly store_path: string;
  readonly references: string;
  readonly system: string | null;
  readonly deriver: string | null;
  readonly sigs: string;
  readonly ca: string | null;
  readonly nar_id: number;
  readonly state: string;
  readonly nar_hash: string;
  readonly nar_size: number;
}

/** A piece of a NAR, in its order; `undefined` for one that was lost. */
export type AtticPiece = AtticChunk | undefined;

export interface AtticChunk {
  readonly state: string;
  readonly chunk_hash: string;
  readonly chunk_size: number;
  readonly file_hash: string | null;
  readonly file_size: number | null;
  readonly compression: string;
  readonly remote_file: string;
}

/** Rows that are read at a time. */
const PAGE = 2000;

const CHUNK_COLUMNS = [
  'chunk.state',
  'chunk.chunk_hash',
  'chunk.chunk_size',
  'chunk.file_hash',
  'chunk.file_size',
  'chunk.compression',
  'chunk.remote_file',
] as const;

/** The database of an attic server, of whatever age, to read. Each method is a query or a few: beside a running server nothing is held. */
export class AtticDatabase implements AsyncDisposable {
  readonly #db: Kysely<AtticSchema>;
  /** `table.column`, of those that matter. */
  readonly #columns: ReadonlySet<string>;

  private constructor(db: Kysely<AtticSchema>, columns: ReadonlySet<string>) {
    this.#db = db;
    this.#columns = columns;
  }

  /** @throws `database-failed` when it cannot be opened, or is none of attic's */
  static async open(url: string): Promise<AtticDatabase> {
    const db = openAttic(url);
    try {
      const tables = await db.introspection.getTables();
      const columns = new Set(
        tables.flatMap(({ name, columns }) => columns.map((each) => `${name}.${each.name}`)),
      );
      for (const needed of ['cache.keypair', 'object.store_path_hash', 'nar.nar_hash'])
        if (!columns.has(needed))
          throw new Error(`it has no column ${needed}; is it the one that attic's server.toml names?`);
      return new AtticDatabase(db, columns);
    } catch (error) {
      await db.destroy();
      const detail = error instanceof Error ? error.message : String(error);
      // Never the URL: it may hold a password.
      throw new ServerError('database-failed', `cannot read attic's database: ${detail}${wayOut(error)}`, {
        cause: error,
      });
    }
  }

  /** Those that were not deleted. */
  async caches(): Promise<AtticCache[]> {
    const rows = await this.#db
      .selectFrom('cache')
      .selectAll()
      .where('deleted_at', 'is', null)
      .orderBy('id')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      keypair: row.keypair,
      public: Boolean(row.is_public),
      storeDir: row.store_dir,
      priority: row.priority,
      upstreamKeyNames: JSON.parse(row.upstream_cache_key_names) as string[],
      retention: row.retention_period ?? undefined,
    }));
  }

  /** The objects of a cache, in the order they came. */
  async *entries(cacheId: number): AsyncIterable<AtticEntry> {
    let last = Number.MIN_SAFE_INTEGER;
    for (;;) {
      const page = await this.#db
        .selectFrom('object')
        .select(['id', 'store_path_hash as hashPart', 'references'])
        .where('cache_id', '=', cacheId)
        .where('id', '>', last)
        .orderBy('id')
        .limit(PAGE)
        .execute();
      yield* page;
      if (page.length < PAGE) return;
      last = page.at(-1)?.id ?? last;
    }
  }

  /** These objects with their NARs, by id. */
  async objects(ids: readonly number[]): Promise<Map<number, AtticObject>> {
    const rows = await this.#db
      .selectFrom('object')
      .innerJoin('nar', 'nar.id', 'object.nar_id')
      .select([
        'object.id',
        'object.store_path_hash',
        'object.store_path',
        'object.references',
        'object.system',
        'object.deriver',
        'object.sigs',
        'object.ca',
        'object.nar_id',
        'nar.state',
        'nar.nar_hash',
        'nar.nar_size',
      ])
      .where('object.id', 'in', ids)
      .execute();
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** Other NARs with the same contents, which can be used: attic may keep several. */
  async twins(narHash: string, narId: number): Promise<number[]> {
    const rows = await this.#db
      .selectFrom('nar')
      .select('id')
      .where('nar_hash', '=', narHash)
      .where('state', '=', 'V')
      .where('id', '!=', narId)
      .orderBy('id')
      .execute();
    return rows.map(({ id }) => id);
  }

  /** The pieces of a NAR, and how many it should have. */
  async pieces(narId: number): Promise<{ readonly pieces: readonly AtticPiece[]; readonly count: number }> {
    // Migrated to chunks when attic's own server starts next; until then a NAR is one file.
    if (!this.#columns.has('chunkref.seq')) return { pieces: [await this.#wholeNar(narId)], count: 1 };
    const refs = await this.#db
      .selectFrom('chunkref')
      .leftJoin('chunk', 'chunk.id', 'chunkref.chunk_id')
      .select(['chunkref.id as ref', ...CHUNK_COLUMNS])
      .where('chunkref.nar_id', '=', narId)
      .orderBy('chunkref.seq')
      .execute();
    const nar = await this.#db
      .selectFrom('nar')
      .select('num_chunks')
      .where('id', '=', narId)
      .executeTakeFirst();
    const pieces: AtticPiece[] = [];
    for (const { ref, ...chunk } of refs)
      pieces.push(isChunk(chunk) && chunk.state === 'V' ? chunk : await this.#standIn(ref));
    return { pieces, count: nar?.num_chunks ?? refs.length };
  }

  /** A chunk with the contents that a lost one had, where the database still says what they were. */
  async #standIn(ref: number): Promise<AtticPiece> {
    if (!this.#columns.has('chunkref.chunk_hash')) return undefined;
    return this.#db
      .selectFrom('chunkref')
      .innerJoin('chunk', 'chunk.chunk_hash', 'chunkref.chunk_hash')
      .select(CHUNK_COLUMNS)
      .where('chunkref.id', '=', ref)
      .where('chunk.state', '=', 'V')
      .limit(1)
      .executeTakeFirst();
  }

  async #wholeNar(narId: number): Promise<AtticPiece> {
    const row = await this.#db
      .selectFrom('nar')
      .select(['state', 'nar_hash', 'nar_size', 'file_hash', 'file_size', 'compression', 'remote_file'])
      .where('id', '=', narId)
      .executeTakeFirst();
    if (row?.remote_file === undefined) return undefined;
    const { nar_hash, nar_size, remote_file, file_hash = null, file_size = null, ...rest } = row;
    return { ...rest, chunk_hash: nar_hash, chunk_size: nar_size, remote_file, file_hash, file_size };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db.destroy();
  }
}

/** Attic has SQLite keep a log beside the database (WAL), which readers share through a file that they make if need be. */
function wayOut(error: unknown): string {
  if (
    !(error instanceof Error) ||
    !('code' in error) ||
    !/^SQLITE_(CANTOPEN|READONLY)/.test(String(error.code))
  )
    return '';
  return '; its directory must be one that can be written to, for the -shm file of SQLite: or copy it, with its -wal file, to one';
}

type Outer<T> = { readonly [K in keyof T]: T[K] | null };

function isChunk(row: Outer<AtticChunk>): row is AtticChunk {
  return row.state !== null;
}
