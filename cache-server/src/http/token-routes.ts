import { z } from 'zod';
import { generateToken, hashToken, registerToken } from '../auth/token.js';
import { type AuditQuery, queryAuditEntries } from '../database/tables/audit-entries.js';
import { queryTokenByHash, queryTokens, revokeToken, type TokenRow } from '../database/tables/tokens.js';
import { ServerError } from '../errors.js';
import {
  auditEntry,
  type CreatedToken,
  createdToken,
  newTokenBody,
  parseBody,
  type TokenDescription,
  tokenDescription,
} from './admin-bodies.js';
import { readJson } from './json.js';
import type { RouteContext, ServerRoute } from './route.js';
import type { Services } from './services.js';

const MAX_ENTRIES = 1000;

/** Tokens, and the log of who did what: for administrators of the whole server. */
export function tokenRoutes(services: Services): ServerRoute[] {
  const { database } = services;
  return [
    {
      method: 'GET',
      path: '/api/v1/tokens',
      access: 'server-admin',
      about: {
        summary: 'List the tokens',
        group: 'tokens',
        answers: { 200: { what: 'All tokens', json: z.object({ tokens: z.array(tokenDescription) }) } },
      },
      async handle(context) {
        const rows = await queryTokens(database.read);
        return context.json({ tokens: rows.map(describeToken) });
      },
    },
    {
      method: 'POST',
      path: '/api/v1/tokens',
      access: 'server-admin',
      about: {
        summary: 'Make a token',
        details: 'The answer is the only place where the token is told: the server keeps its hash.',
        group: 'tokens',
        body: { json: newTokenBody },
        answers: { 201: { what: 'The token', json: createdToken } },
      },
      async handle(context) {
        const { expiresAt, ...body } = parseBody(newTokenBody, await readJson(context, services));
        const token = generateToken();
        await registerToken(database, token, {
          ...body,
          ...(expiresAt === undefined ? {} : { expiresAt: Date.parse(expiresAt) }),
        });
        const row = await queryTokenByHash(database.write, hashToken(token));
        if (row === undefined) throw new ServerError('database-failed', 'the token was not recorded');
        return context.json({ ...describeToken(row), token } satisfies CreatedToken, 201, {
          'Cache-Control': 'no-store',
        });
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/tokens/:id{[0-9]{1,9}}',
      access: 'server-admin',
      about: {
        summary: 'Revoke a token',
        details: 'Every replica refuses it from the next request on.',
        group: 'tokens',
        answers: { 204: { what: 'It is revoked' } },
      },
      async handle(context) {
        const id = Number(context.req.param('id'));
        if (!(await revokeToken(database.write, id)))
          throw new ServerError('not-found', `there is no token ${id}`);
        return context.body(null, 204);
      },
    },
    {
      method: 'GET',
      path: '/api/v1/audit',
      access: 'server-admin',
      about: {
        summary: 'Read the log of changes, the newest first',
        group: 'tokens',
        query: {
          cache: { what: 'Only of this cache', schema: z.string() },
          before: { what: 'Only entries before the one of this id: the next page', schema: z.int() },
          limit: { what: 'Most entries to give', schema: z.int().max(MAX_ENTRIES).default(100) },
        },
        answers: { 200: { what: 'Entries', json: z.object({ entries: z.array(auditEntry) }) } },
      },
      async handle(context) {
        const entries = await queryAuditEntries(database.read, parseAuditQuery(context));
        return context.json({ entries: entries.map((entry) => ({ ...entry, at: isoTime(entry.at) })) });
      },
    },
  ];
}

function parseAuditQuery(context: RouteContext): AuditQuery {
  const cache = context.req.query('cache');
  const before = parseCount(context.req.query('before'));
  return {
    ...(cache === undefined ? {} : { cache }),
    ...(before === undefined ? {} : { before }),
    limit: Math.min(parseCount(context.req.query('limit')) ?? 100, MAX_ENTRIES),
  };
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ServerError('request-malformed', `'${text}' is not a number`);
}

function describeToken(row: TokenRow): TokenDescription {
  return {
    id: row.id,
    name: row.name,
    caches: JSON.parse(row.caches) as string[],
    scopes: JSON.parse(row.scopes) as string[],
    createdAt: isoTime(row.created_at),
    ...(row.expires_at === null ? {} : { expiresAt: isoTime(row.expires_at) }),
    ...(row.revoked_at === null ? {} : { revokedAt: isoTime(row.revoked_at) }),
    ...(row.last_used_at === null ? {} : { lastUsedAt: isoTime(row.last_used_at) }),
  };
}

function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
