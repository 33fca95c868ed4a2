import { Kysely, type KyselyConfig, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Schema } from './schema.js';
import type { OpenedDatabase } from './sqlite.js';

/** The wire type of `bigint`, which pg gives as text for fear of 2^53: our sizes and times stay below. */
const INT8 = 20;

export function openPostgres(
  options: { readonly url: string; readonly connections: number },
  log: KyselyConfig['log'],
): OpenedDatabase {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connections,
    connectionTimeoutMillis: 10_000,
    types: {
      getTypeParser: (type: number, format?: 'text' | 'binary') =>
        type === INT8 ? Number : pg.types.getTypeParser(type, format as 'text'),
    },
  });
  // An idle connection that the server closes (a restart, say) is no fault: the pool opens another.
  pool.on('error', () => undefined);
  // One that ends between two queries of a transaction tells nobody else; the next query fails, and with it the transaction.
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
  });
  const write = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }), ...(log ? { log } : {}) });
  return { write, openRead: () => write };
}
