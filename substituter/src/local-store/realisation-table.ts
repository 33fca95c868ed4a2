import { existsSync, writeFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { Realisation } from '@larder/signing/realisation';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type Database from 'better-sqlite3';

/** The version of the tables below that we make; Nix upgrades it to later ones, which have the same columns. */
const CA_SCHEMA_VERSION = 3;

/** Reference: `ca-specific-schema.sql` of Nix 2.8, column for column. */
const CA_SCHEMA = `
create table if not exists Realisations (
    id integer primary key autoincrement not null,
    drvPath text not null,
    outputName text not null, -- symbolic output id, usually "out"
    outputPath integer not null,
    signatures text, -- space-separated list
    foreign key (outputPath) references ValidPaths(id) on delete cascade
);

create index if not exists IndexRealisations on Realisations(drvPath, outputName);

create table if not exists RealisationsRefs (
    referrer integer not null,
    realisationReference integer,
    foreign key (referrer) references Realisations(id) on delete cascade,
    foreign key (realisationReference) references Realisations(id) on delete restrict
);

create index if not exists IndexRealisationsRefs on RealisationsRefs(referrer);
create index if not exists IndexRealisationsRefsOnOutputPath on Realisations(outputPath);
`;

interface RealisationRow {
  readonly id: number;
  readonly drvPath: string;
  readonly outputName: string;
  readonly path: string;
  readonly signatures: string | null;
}

/**
 * Which paths outputs of derivations came out as: the part of Nix's database that is there only once somebody used
 * content-addressed derivations. A realisation's id is `sha256:<hash modulo>!<output>`.
 */
export class RealisationTable {
  readonly #db: Database.Database;
  readonly #storeDir: StoreDir;
  readonly #directory: string;
  #statements: ReturnType<typeof prepareStatements> | undefined;

  /** `directory` is that of the database. */
  constructor(db: Database.Database, storeDir: StoreDir, directory: string) {
    this.#db = db;
    this.#directory = directory;
    this.#storeDir = storeDir;
  }

  query(id: string): Realisation | undefined {
    const row = this.#find(id);
    return row === undefined ? undefined : this.#parse(row);
  }

  /** All that came out as this path. */
  queryOf(path: StorePath): Realisation[] {
    const rows = this.#open()?.ofPath.all(this.#storeDir.format(path)) ?? [];
    return rows.map((row) => this.#parse(row));
  }

  /**
   * Notes realisations of valid paths, all or none, those that others depend on first; signatures are added to those
   * that are there.
   * @throws `realisation-conflict` when an output came out as another path before
   */
  register(realisations: readonly Realisation[]): void {
    this.create();
    this.#db
      .transaction(() => {
        for (const realisation of realisations) this.#register(realisation);
      })
      .immediate();
  }

  /** Lets a path go although others' realisations depend on its own; the row itself goes with the path. */
  release(path: StorePath): void {
    this.#open()?.release.run(this.#storeDir.format(path));
  }

  /** Makes the tables where they are missing and the database may be written. */
  create(): void {
    if (this.#db.readonly) return;
    const file = `${this.#directory}/ca-schema`;
    if (existsSync(file)) return;
    // Crash invariant: the tables come first; making them again does nothing.
    this.#db.exec(CA_SCHEMA);
    writeFileSync(file, String(CA_SCHEMA_VERSION));
  }

  #register(realisation: Realisation): void {
    const statements = this.#open()!;
    const { id, outPath, signatures, dependentRealisations } = realisation;
    const known = this.query(id);
    const [drvPath, outputName] = splitId(id);
    if (known === undefined) {
      const full = this.#storeDir.format(outPath);
      statements.insert.run(drvPath, outputName, full, [...signatures].sort().join(' '));
    } else {
      if (known.outPath !== outPath) throw conflict(id, known.outPath, outPath);
      const all = [...new Set([...known.signatures, ...signatures])].sort();
      statements.sign.run(all.join(' '), drvPath, outputName);
    }
    const referrer = this.#find(id)!.id;
    for (const [other, path] of Object.entries(dependentRealisations)) {
      const found = this.#find(other);
      if (found === undefined || this.#storeDir.parse(found.path) !== path) {
        throw new LarderError(
          'realisation-incomplete',
          `the realisation ${id} depends on ${other}, which did not come out as ${path} here`,
        );
      }
      if (known?.dependentRealisations[other] === undefined) statements.refer.run(referrer, found.id);
    }
  }

  #find(id: string): RealisationRow | undefined {
    return this.#open()?.byId.get(...splitId(id));
  }

  #parse(row: RealisationRow): Realisation {
    const dependents = this.#open()!.references.all(row.id);
    return {
      id: `${row.drvPath}!${row.outputName}`,
      outPath: this.#storeDir.parse(row.path),
      signatures: (row.signatures ?? '').split(' ').filter((each) => each !== ''),
      dependentRealisations: Object.fromEntries(
        dependents.map((each) => [`${each.drvPath}!${each.outputName}`, this.#storeDir.parse(each.path)]),
      ),
    };
  }

  /** `undefined` while nobody made the tables. */
  #open(): ReturnType<typeof prepareStatements> | undefined {
    if (this.#statements !== undefined) return this.#statements;
    const found = this.#db.prepare("select 1 from sqlite_master where name = 'RealisationsRefs'").get();
    if (found !== undefined) this.#statements = prepareStatements(this.#db);
    return this.#statements;
  }
}

function splitId(id: string): [drvPath: string, outputName: string] {
  const mark = id.indexOf('!');
  return [id.slice(0, mark), id.slice(mark + 1)];
}

function conflict(id: string, here: StorePath, other: StorePath): LarderError {
  return new LarderError(
    'realisation-conflict',
    `${id} came out as ${here} in this store, and as ${other} elsewhere: it is not deterministic`,
    { fields: { id, here, other } },
  );
}

function prepareStatements(db: Database.Database) {
  const columns =
    'r.id as id, r.drvPath as drvPath, r.outputName as outputName, v.path as path, r.signatures as signatures';
  const from = `select ${columns} from Realisations r join ValidPaths v on v.id = r.outputPath`;
  return {
    byId: db.prepare<[string, string], RealisationRow>(`${from} where r.drvPath = ? and r.outputName = ?`),
    ofPath: db.prepare<[string], RealisationRow>(`${from} where v.path = ?`),
    references: db.prepare<[number], RealisationRow>(
      `${from} join RealisationsRefs f on f.realisationReference = r.id where f.referrer = ?`,
    ),
    insert: db.prepare<[string, string, string, string]>(
      'insert into Realisations (drvPath, outputName, outputPath, signatures) values (?, ?, (select id from ValidPaths where path = ?), ?)',
    ),
    sign: db.prepare<[string, string, string]>(
      'update Realisations set signatures = ? where drvPath = ? and outputName = ?',
    ),
    refer: db.prepare<[number, number]>(
      'insert into RealisationsRefs (referrer, realisationReference) values (?, ?)',
    ),
    release: db.prepare<[string]>(
      `delete from RealisationsRefs where realisationReference in
         (select id from Realisations where outputPath = (select id from ValidPaths where path = ?))`,
    ),
  };
}
