/**
 * The tables of an attic server as its own migrations make them, one entry a migration, of those that change what is read: the
 * names are theirs (`server/src/database/migration/` of attic, at b7c9056). Types are what SeaQuery makes of the columns there.
 */
export type AtticDialect = 'sqlite' | 'postgresql';

/** How far a server was brought up to date. */
export type AtticLayout = 'files' | 'chunks' | 'now';

/** The last migration of each layout. */
const LAST: Readonly<Record<AtticLayout, string>> = {
  files: 'm20230103_000001',
  chunks: 'm20230112_000006',
  now: 'm20260624_000001',
};

export function atticSchema(dialect: AtticDialect, layout: AtticLayout): string[] {
  return migrations(dialect)
    .filter(([name]) => name <= LAST[layout])
    .flatMap(([, statements]) => statements);
}

function migrations(dialect: AtticDialect): readonly (readonly [string, readonly string[]])[] {
  const isSqlite = dialect === 'sqlite';
  const key = isSqlite ? 'integer NOT NULL PRIMARY KEY AUTOINCREMENT' : 'bigserial NOT NULL PRIMARY KEY';
  const time = isSqlite ? 'timestamp_with_timezone_text' : 'timestamp with time zone';
  const bool = isSqlite ? 'boolean' : 'bool';
  return [
    [
      'm20221227_000001',
      [
        `CREATE TABLE "cache" ("id" ${key}, "name" varchar(50) NOT NULL UNIQUE, "keypair" varchar NOT NULL,
          "is_public" ${bool} NOT NULL, "store_dir" varchar NOT NULL, "priority" integer NOT NULL,
          "upstream_cache_key_names" varchar NOT NULL, "created_at" ${time} NOT NULL, "deleted_at" ${time} NULL)`,
        'CREATE INDEX "idx-cache-name" ON "cache" ("name")',
      ],
    ],
    [
      'm20221227_000002',
      [
        `CREATE TABLE "nar" ("id" ${key}, "state" char(1) NOT NULL, "nar_hash" varchar NOT NULL, "nar_size" bigint NOT NULL,
          "file_hash" varchar NULL, "file_size" bigint NULL, "compression" varchar NOT NULL, "remote_file" varchar NOT NULL,
          "remote_file_id" varchar NOT NULL UNIQUE, "holders_count" integer NOT NULL DEFAULT 0, "created_at" ${time} NOT NULL)`,
        'CREATE INDEX "idx-nar-nar-hash" ON "nar" ("nar_hash")',
      ],
    ],
    [
      'm20221227_000003',
      [
        `CREATE TABLE "object" ("id" ${key}, "cache_id" bigint NOT NULL, "nar_id" bigint NOT NULL,
          "store_path_hash" varchar(32) NOT NULL, "store_path" varchar NOT NULL, "references" varchar NOT NULL,
          "system" varchar, "deriver" varchar, "sigs" varchar NOT NULL, "ca" varchar, "created_at" ${time} NOT NULL,
          FOREIGN KEY ("cache_id") REFERENCES "cache" ("id") ON DELETE CASCADE,
          FOREIGN KEY ("nar_id") REFERENCES "nar" ("id") ON DELETE CASCADE)`,
        'CREATE UNIQUE INDEX "idx-object-cache-hash" ON "object" ("cache_id", "store_path_hash")',
      ],
    ],
    ['m20221227_000004', [`ALTER TABLE "object" ADD COLUMN "last_accessed_at" ${time} NULL`]],
    ['m20221227_000005', ['ALTER TABLE "cache" ADD COLUMN "retention_period" integer NULL']],
    ['m20230103_000001', ['ALTER TABLE "object" ADD COLUMN "created_by" varchar NULL']],
    [
      'm20230112_000001',
      [
        `CREATE TABLE "chunk" ("id" ${key}, "state" char(1) NOT NULL, "chunk_hash" varchar NOT NULL,
          "chunk_size" bigint NOT NULL, "file_hash" varchar NULL, "file_size" bigint NULL, "compression" varchar NOT NULL,
          "remote_file" varchar NOT NULL, "remote_file_id" varchar NOT NULL UNIQUE,
          "holders_count" integer NOT NULL DEFAULT 0, "created_at" ${time} NOT NULL)`,
        'CREATE INDEX "idx-chunk-chunk-hash" ON "chunk" ("chunk_hash")',
      ],
    ],
    [
      'm20230112_000002',
      [
        `CREATE TABLE "chunkref" ("id" ${key}, "nar_id" bigint NOT NULL, "seq" integer NOT NULL, "chunk_id" bigint NULL,
          "chunk_hash" varchar NOT NULL, "compression" varchar NOT NULL,
          FOREIGN KEY ("chunk_id") REFERENCES "chunk" ("id") ON DELETE SET NULL,
          FOREIGN KEY ("nar_id") REFERENCES "nar" ("id") ON DELETE CASCADE)`,
        'CREATE INDEX "idx-chunk-nar-id" ON "chunkref" ("nar_id")',
        'CREATE INDEX "idx-chunk-chunk-id" ON "chunkref" ("chunk_id")',
      ],
    ],
    ['m20230112_000003', ['ALTER TABLE "nar" ADD COLUMN "num_chunks" integer NOT NULL DEFAULT 1']],
    [
      'm20230112_000005',
      isSqlite
        ? newNarTable(key, time)
        : ['file_hash', 'file_size', 'remote_file', 'remote_file_id'].map(dropFrom('nar')),
    ],
    ['m20230112_000006', [`ALTER TABLE "nar" ADD COLUMN "completeness_hint" ${bool} NOT NULL DEFAULT TRUE`]],
    ['m20260508_000001', ['CREATE INDEX "idx-chunk-state-holders" ON "chunk" ("state", "holders_count")']],
    ['m20260611_000001', ['CREATE INDEX "idx-nar-state-holders" ON "nar" ("state", "holders_count")']],
    [
      'm20260624_000001',
      [...['chunk_hash', 'compression'].map(dropFrom('chunkref')), dropFrom('nar')('completeness_hint')],
    ],
  ];
}

/** SQLite dropped no columns then: attic made the table anew. */
function newNarTable(key: string, time: string): string[] {
  return [
    `CREATE TABLE "nar_new" ("id" ${key}, "state" char(1) NOT NULL, "nar_hash" varchar NOT NULL, "nar_size" bigint NOT NULL,
      "compression" varchar NOT NULL, "num_chunks" integer NOT NULL DEFAULT 1, "holders_count" integer NOT NULL DEFAULT 0,
      "created_at" ${time} NOT NULL)`,
    'DROP TABLE "nar"',
    'ALTER TABLE "nar_new" RENAME TO "nar"',
  ];
}

function dropFrom(table: string): (column: string) => string {
  return (column) => `ALTER TABLE "${table}" DROP COLUMN "${column}"`;
}
