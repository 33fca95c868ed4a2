import { z } from 'zod';
import { generateToken, registerToken } from '../auth/token.js';
import { ServerError } from '../errors.js';
import type { OpenRoute, ServerRoute } from './route.js';
import type { Services } from './services.js';

const issuerList = z.object({
  issuers: z.array(z.object({ issuer: z.string(), audience: z.string() })),
});

const sessionToken = z.object({
  token: z.string(),
  expiresAt: z.iso.datetime(),
  caches: z.array(z.string()),
  scopes: z.array(z.string()),
});

/** Tokens for CI: an ID token is good as it is, or for a token that outlives it. */
export function oidcRoutes({ oidc, database, config }: Services): (OpenRoute | ServerRoute)[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/oidc',
      access: 'open',
      about: {
        summary: 'Whose ID tokens are taken, and for which audience they must be',
        group: 'tokens',
        answers: { 200: { what: 'The issuers', json: issuerList } },
      },
      handle: (context) =>
        context.json({ issuers: oidc.issuers.map(({ issuer, audience }) => ({ issuer, audience })) }),
    },
    {
      method: 'POST',
      path: '/api/v1/oidc/token',
      access: 'token',
      about: {
        summary: 'Change an ID token for a token that lives as long as a build takes',
        details:
          'The ID token comes as any other token does. What it gives is what the first matching rule says.',
        group: 'tokens',
        answers: { 201: { what: 'The token', json: sessionToken } },
      },
      async handle(context, { issuer, name, caches, scopes }) {
        if (issuer === undefined)
          throw new ServerError(
            'request-malformed',
            'this takes an ID token of an issuer; the one sent is a token already',
          );
        const token = generateToken();
        const expiresAt = Date.now() + config.oidc.session;
        await registerToken(database, token, { name, issuer, caches, scopes: [...scopes], expiresAt });
        return context.json(
          { token, expiresAt: new Date(expiresAt).toISOString(), caches: [...caches], scopes: [...scopes] },
          201,
          { 'Cache-Control': 'no-store' },
        );
      },
    },
  ];
}
