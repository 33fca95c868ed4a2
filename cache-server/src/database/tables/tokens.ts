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
  /** Of OpenID Connect, where the token was given for an ID token. */
  issuer: string | null;
}

export type TokenRow = Selectable<TokensTable>;

export async function queryTokenByHash(db: Kysely<Schema>, hash: string): Promise<TokenRow | undefined> {
  return db.selectFrom('tokens').selectAll().where('token_hash', '=', hash).executeTakeFirst();
}

export async function queryTokenById(db: Kysely<Schema>, id: number): Promise<TokenRow | undefined> {
  return db.selectFrom('tokens').selectAll().where('id', '=', id).executeTakeFirst();
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

/** All tokens, the revoked and expired among them, oldest first. */
export async function queryTokens(db: Kysely<Schema>): Promise<TokenRow[]> {
  return db.selectFrom('tokens').selectAll().orderBy('id').execute();
}

/** Gives false when there is no such token; one that is revoked already stays as it is. */
export async function revokeToken(db: Kysely<Schema>, id: number): Promise<boolean> {
  const row = await db
    .updateTable('tokens')
    .set((query) => ({ revoked_at: query.fn.coalesce('revoked_at', query.val(Date.now())) }))
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}

/** Forgets the tokens of ID tokens that expired before that; gives how many. */
export async function deleteIssuedTokensBefore(db: Kysely<Schema>, time: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('tokens')
    .where('issuer', 'is not', null)
    .where('expires_at', '<', time)
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}

/** @param used milliseconds since the epoch, by token id */
export async function updateTokenUse(db: Kysely<Schema>, used: ReadonlyMap<number, number>): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    // In one order, so that two replicas never wait for each other.
    for (const [id, time] of [...used].sort(([left], [right]) => left - right))
      await transaction
        .updateTable('tokens')
        .set({ last_used_at: time })
        .where('id', '=', id)
        .where((query) => query.or([query('last_used_at', 'is', null), query('last_used_at', '<', time)]))
        .execute();
  });
}
