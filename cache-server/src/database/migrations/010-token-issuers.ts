import type { Kysely } from 'kysely';

/** Tokens that were given for the word of an OpenID Connect issuer say whose. */
export function tokenIssuers(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema.alterTable('tokens').addColumn('issuer', 'text').execute();
    },
  };
}
