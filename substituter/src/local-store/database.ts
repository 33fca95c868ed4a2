import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import Database from 'better-sqlite3';
import { isWritable } from './layout.js';
import { formatRow, parseRow, type ValidPathRow } from './path-info-row.js';
import { RealisationTable } from './realisation-table.js';
import { SCHEMA, SCHEMA_VERSION } from './schema.js';

/** Long enough for any transaction of Nix's, in milliseconds. */
const busyTimeout = 300_000;

export interface DatabaseOptions {
  readonly storeDir: StoreDir;
  /** `fsync-metadata`: whether a commit may be lost, or worse, when the machine loses power. */
  readonly fsyncMetadata: boolean;
}

/** The outputs of a derivation that is being registered, by output name, where they are known. */
export type DerivationOutputs = ReadonlyMap<string, StorePath>;

/**
 * Nix's own database of valid paths, `db.sqlite`. Several processes, Nix among them, may have it open: every
 * answer comes from the file and every change is one transaction.
 */
export class StoreDatabase {
  readonly #db: Database.Database;
  readonly #storeDir: StoreDir;
  readonly realisations: RealisationTable;
  readonly #statements: ReturnType<typeof prepareStatements>;

  private constructor(db: Database.Database, storeDir: StoreDir, directory: string) {
    this.#db = db;
    this.#storeDir = storeDir;
    this.realisations = new RealisationTable(db, storeDir, directory);
    this.#statements = prepareStatements(db);
  }

  /**
   * Opens the database in `directory`, making it if there is none. Without the right to write it is opened
   * for reading. The caller holds the store's big lock shared, so no upgrade of the schema is under way.
   * Throws `store-schema-unsupported` and `store-unreadable`.
   */
  static open(directory: string, { storeDir, fsyncMetadata }: DatabaseOptions): StoreDatabase {
    const version = readSchemaVersion(`${directory}/schema`);
    if (version !== undefined && version !== SCHEMA_VERSION) {
      throw new LarderError(
        'store-schema-unsupported',
        `The store database in ${directory} has schema version ${version}; Larder knows version ${SCHEMA_VERSION}. ` +
          (version < SCHEMA_VERSION
            ? 'Run any command of Nix 2 on it once to upgrade it.'
            : 'Use a newer Larder.'),
      );
    }
    const readonly = !isWritable(directory);
    let db: Database.Database;
    try {
      db = new Database(`${directory}/db.sqlite`, { readonly, timeout: busyTimeout });
      // A short read proves that the file is a database we may read.
      db.pragma('schema_version');
    } catch (error) {
      throw new LarderError('store-unreadable', `Cannot open the store database ${directory}/db.sqlite.`, {
        cause: error,
      });
    }
    db.pragma('foreign_keys = on');
    if (!readonly) {
      db.pragma(`synchronous = ${fsyncMetadata ? 'normal' : 'off'}`);
      db.pragma('journal_mode = wal');
      // As Nix: a large registration then costs one fsync, not one each thousand pages.
      db.pragma('wal_autocheckpoint = 40000');
      if (version === undefined) {
        // Crash invariant: the tables come first, the version file last, and making tables again does
        // nothing. Whoever dies in between leaves a database that the next one completes.
        db.exec(SCHEMA);
        writeSchemaVersion(`${directory}/schema`);
      }
    }
    return new StoreDatabase(db, storeDir, directory);
  }

  close(): void {
    this.#db.close();
  }

  isValid(path: StorePath): boolean {
    return this.#statements.id.get(this.#storeDir.format(path)) !== undefined;
  }

  queryPathInfo(path: StorePath): ValidPathInfo | undefined {
    const row = this.#statements.info.get(this.#storeDir.format(path));
    if (row === undefined) return undefined;
    return parseRow(row, this.#parsePaths(this.#statements.references.all(row.id)), this.#storeDir);
  }

  queryPathFromHashPart(hashPart: string): StorePath | undefined {
    const prefix = `${this.#storeDir.path}/${hashPart}`;
    const found = this.#statements.fromPrefix.get(prefix);
    return found?.startsWith(prefix) ? this.#storeDir.parse(found) : undefined;
  }

  queryAllValidPaths(): StorePath[] {
    return this.#parsePaths(this.#statements.all.all());
  }

  /** Paths that became valid after the one with this number, in that order, with the number of the last. */
  queryPathsAfter(position: number): { readonly paths: StorePath[]; readonly position: number } {
    const rows = this.#statements.after.all(position);
    return { paths: this.#parsePaths(rows.map(({ path }) => path)), position: rows.at(-1)?.id ?? position };
  }

  /** The number of the path that became valid last; numbers are never used again. */
  get lastPosition(): number {
    return this.#statements.lastId.get() ?? 0;
  }

  queryReferrers(path: StorePath): StorePath[] {
    return this.#parsePaths(this.#statements.referrers.all(this.#storeDir.format(path)));
  }

  /** The valid derivations that have this path among their outputs. */
  queryValidDerivers(path: StorePath): StorePath[] {
    return this.#parsePaths(this.#statements.derivers.all(this.#storeDir.format(path)));
  }

  /** The outputs of a valid derivation, by output name. */
  queryDerivationOutputs(derivation: StorePath): Map<string, StorePath> {
    const rows = this.#statements.outputs.all(this.#storeDir.format(derivation));
    return new Map(rows.map(({ id, path }) => [id, this.#storeDir.parse(path)]));
  }

  /** The closure of valid paths, over references or over referrers, unsorted. */
  queryClosure(
    roots: Iterable<StorePath>,
    direction: 'references' | 'referrers' = 'references',
  ): StorePath[] {
    const full = JSON.stringify([...roots].map((path) => this.#storeDir.format(path)));
    const statement =
      direction === 'references' ? this.#statements.closure : this.#statements.referrersClosure;
    return this.#parsePaths(statement.all(full));
  }

  /**
   * Makes paths valid, all or none. Every reference must be valid already or be among `infos`; a path that
   * is valid gets the new details. `outputs` gives the outputs of the derivations among them.
   * Throws `reference-invalid`.
   */
  register(infos: readonly ValidPathInfo[], outputs: ReadonlyMap<StorePath, DerivationOutputs>): void {
    this.#db
      .transaction(() => {
        for (const info of infos) this.#upsert(info);
        // All rows are there now, so that paths of one batch may refer to each other and to themselves.
        for (const info of infos) this.#insertReferences(info);
        for (const [derivation, named] of outputs) this.#insertOutputs(derivation, named);
      })
      .immediate();
  }

  /** Adds signatures to a valid path; those it has stay. */
  addSignatures(path: StorePath, signatures: readonly string[]): void {
    this.#db
      .transaction(() => {
        const info = this.queryPathInfo(path);
        if (info === undefined) return;
        const all = [...new Set([...info.signatures, ...signatures])].sort();
        this.#statements.setSignatures.run(all.join(' '), this.#storeDir.format(path));
      })
      .immediate();
  }

  /** Takes paths out of the valid ones, referrers before what they refer to, all or none. */
  invalidate(paths: readonly StorePath[]): void {
    this.#db
      .transaction(() => {
        for (const path of paths) {
          this.realisations.release(path);
          this.#statements.invalidate.run(this.#storeDir.format(path));
        }
      })
      .immediate();
  }

  #upsert(info: ValidPathInfo): void {
    const row = formatRow(info, this.#storeDir);
    if (this.isValid(info.storePath)) this.#statements.update.run(row);
    else this.#statements.insert.run(row);
  }

  #insertReferences(info: ValidPathInfo): void {
    const referrer = this.#statements.id.get(this.#storeDir.format(info.storePath));
    for (const reference of info.references) {
      const id = this.#statements.id.get(this.#storeDir.format(reference));
      if (id === undefined) {
        throw new LarderError(
          'reference-invalid',
          `${info.storePath} cannot become valid: it refers to ${reference}, which is not in the store.`,
          { fields: { path: info.storePath, reference } },
        );
      }
      this.#statements.insertReference.run(referrer, id);
    }
  }

  #insertOutputs(derivation: StorePath, outputs: DerivationOutputs): void {
    const id = this.#statements.id.get(this.#storeDir.format(derivation));
    for (const [name, path] of outputs) {
      this.#statements.insertOutput.run(id, name, this.#storeDir.format(path));
    }
  }

  #parsePaths(full: readonly string[]): StorePath[] {
    return full.map((path) => this.#storeDir.parse(path));
  }
}

function prepareStatements(db: Database.Database) {
  const column = <T>(sql: string) => db.prepare<unknown[], T>(sql).pluck();
  return {
    id: column<number>('select id from ValidPaths where path = ?'),
    info: db.prepare<[string], ValidPathRow>(
      'select id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths where path = ?',
    ),
    all: column<string>('select path from ValidPaths'),
    after: db.prepare<[number], { id: number; path: string }>(
      'select id, path from ValidPaths where id > ? order by id limit 1000',
    ),
    lastId: column<number>('select max(id) from ValidPaths'),
    // A range start with a limit uses the index, which "like" would not.
    fromPrefix: column<string>('select path from ValidPaths where path >= ? limit 1'),
    references: column<string>('select path from Refs join ValidPaths on reference = id where referrer = ?'),
    referrers: column<string>(
      `select path from Refs join ValidPaths on referrer = id
       where reference = (select id from ValidPaths where path = ?)`,
    ),
    derivers: column<string>(
      'select v.path from DerivationOutputs d join ValidPaths v on d.drv = v.id where d.path = ?',
    ),
    outputs: db.prepare<[string], { id: string; path: string }>(
      `select d.id as id, d.path as path from DerivationOutputs d join ValidPaths v on d.drv = v.id where v.path = ?`,
    ),
    closure: column<string>(closureQuery('referrer', 'reference')),
    referrersClosure: column<string>(closureQuery('reference', 'referrer')),
    insert: db.prepare<ValidPathRow>(
      `insert into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca)
       values (@path, @hash, @registrationTime, @deriver, @narSize, @ultimate, @sigs, @ca)`,
    ),
    update: db.prepare<ValidPathRow>(
      'update ValidPaths set narSize = @narSize, hash = @hash, ultimate = @ultimate, sigs = @sigs, ca = @ca where path = @path',
    ),
    setSignatures: db.prepare<[string, string]>('update ValidPaths set sigs = ? where path = ?'),
    invalidate: db.prepare<[string]>('delete from ValidPaths where path = ?'),
    insertReference: db.prepare('insert or replace into Refs (referrer, reference) values (?, ?)'),
    insertOutput: db.prepare('insert or replace into DerivationOutputs (drv, id, path) values (?, ?, ?)'),
  };
}

/** All that is reachable from the paths of a JSON array by following `from` to `to`. */
function closureQuery(from: 'referrer' | 'reference', to: 'referrer' | 'reference'): string {
  return `with recursive closure(id) as (
      select id from ValidPaths where path in (select value from json_each(?))
      union select ${to} from Refs join closure on ${from} = closure.id
    ) select path from ValidPaths where id in (select id from closure)`;
}

function readSchemaVersion(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8').trim();
  if (/^\d+$/.test(text)) return Number(text);
  throw new LarderError('store-schema-unsupported', `${path} is corrupt: it should hold a schema version.`);
}

function writeSchemaVersion(path: string): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, String(SCHEMA_VERSION));
  renameSync(temporary, path);
}
