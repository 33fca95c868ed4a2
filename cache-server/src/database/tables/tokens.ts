import type { Generated, Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** Access tokens. The token itself is never stored. */
export interface TokensTable {
  id: Generated<number>;
  /** For people: what the token is for. */
  name: string;
  /** SHA-256 of the token, base-16. Tokens are 256 random bits, so no slow hash is called for. */
  token_hash: string;
  /** JSON array of cache names, `*` standing for any run of characters. */
  caches: string;
  /** JSON array of scopes. */
  scopes: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
}

export type TokenRow = Selectable<TokensTable>;

export async function queryTokenByHash(db: Kysely<Schema>, hash: string): Promise<TokenRow | undefined> {
  return db.selectFrom('tokens').selectAll().where('token_hash', '=', hash).executeTakeFirst();
}

/** Gives the new row; `undefined` when this very token is known already. */
export async function insertToken(
  db: Kysely<Schema>,
  token: Omit<TokenRow, 'id'>,
): Promise<TokenRow | undefined> {
  return db
    .insertInto('tokens')
    .values(token)
    .onConflict((conflict) => conflict.column('token_hash').doNothing())
    .returningAll()
    .executeTakeFirst();
}
