import { createHash, randomBytes } from 'node:crypto';
import type { Database } from '../database/database.js';
import { insertToken, queryTokenByHash, queryTokenById, type TokenRow } from '../database/tables/tokens.js';
import type { Scope } from './scopes.js';

export { type Scope, scopes } from './scopes.js';

/** What may be done, and to which caches. */
export interface Grants {
  readonly scopes: ReadonlySet<Scope>;
  /** Names of caches; `*` stands for any run of characters. */
  readonly caches: readonly string[];
}

/** A token that was presented and is in force. */
export interface Token extends Grants {
  /** Absent for an ID token, which is no token of ours. */
  readonly id?: number;
  readonly name: string;
  /** For an ID token: who vouches for it. */
  readonly issuer?: string;
}

const PREFIX = 'larder_';
const SECRET_BYTES = 32;

/** A new token: a prefix that secret scanners can look for, and 256 random bits. */
export function generateToken(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
}

/** What the database knows a token by. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Whether the token grants this on that cache. */
export function allows(token: Grants, scope: Scope, cache: string): boolean {
  if (!token.scopes.has(scope) && !token.scopes.has('admin')) return false;
  return token.caches.some((pattern) => matchesPattern(pattern, cache));
}

/** Whether a whole name matches; `*` stands for any run of characters. */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*');
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return pattern === name;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop() ?? '';
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

export interface NewToken {
  readonly name: string;
  readonly caches: readonly string[];
  readonly scopes: readonly Scope[];
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
  /** Of OpenID Connect, where it is given for an ID token. */
  readonly issuer?: string;
}

/** Records a token, whose text is the caller's to hand over: it is not kept. Gives false when it is known already. */
export async function registerToken(database: Database, text: string, token: NewToken): Promise<boolean> {
  const row = await insertToken(database.write, {
    name: token.name,
    token_hash: hashToken(text),
    caches: JSON.stringify(token.caches),
    scopes: JSON.stringify(token.scopes),
    created_at: Date.now(),
    expires_at: token.expiresAt ?? null,
    revoked_at: null,
    last_used_at: null,
    issuer: token.issuer ?? null,
  });
  return row !== undefined;
}

/** The token of this text, if it is known, not expired and not revoked. */
export async function findToken(database: Database, text: string): Promise<Token | undefined> {
  const row = await queryTokenByHash(database.read, hashToken(text));
  return row === undefined || !isInForce(row) ? undefined : readToken(row);
}

/** The token of this number, likewise: for who has shown its text before. */
export async function findTokenById(database: Database, id: number): Promise<Token | undefined> {
  const row = await queryTokenById(database.read, id);
  return row === undefined || !isInForce(row) ? undefined : readToken(row);
}

function isInForce(row: TokenRow): boolean {
  return row.revoked_at === null && (row.expires_at === null || row.expires_at > Date.now());
}

function readToken(row: TokenRow): Token {
  return {
    id: row.id,
    name: row.name,
    scopes: new Set(JSON.parse(row.scopes) as Scope[]),
    caches: JSON.parse(row.caches) as string[],
  };
}
