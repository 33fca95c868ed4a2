import { type Scope, scopes } from '@larder/cache-server/auth/token';
import type { CreatedToken, TokenDescription } from '@larder/cache-server/http/admin-bodies';
import type { Command } from 'commander';
import { createVerb, usageError } from './command.js';
import { addServerOptions, ServerApi, type ServerOptions } from './server-api.js';
import { parseDuration } from './units.js';

interface CreateOptions extends ServerOptions {
  readonly cache?: string[];
  readonly scope?: string;
  readonly expires?: string;
  readonly json?: true;
}

export function createCommand(): Command {
  const token = createVerb('token', {
    summary: "Make, list and revoke a server's access tokens.",
    examples: [
      [
        "larder token create ci --cache 'team-*' --scope pull,push --expires 90d > token",
        'for a build machine; the token is told this once',
      ],
      ['larder token revoke 7', 'refused from the next request on'],
    ],
  });
  return token.addCommand(create()).addCommand(list()).addCommand(revoke());
}

function create(): Command {
  return addServerOptions(
    createVerb('create', {
      summary: 'Make a token and print it, this once: the server keeps only its hash.',
      examples: [["larder token create laptop --cache '*' --scope pull", 'reads every cache']],
    }),
  )
    .argument('<name>', 'what it is for')
    .option('--cache <pattern...>', "caches it is for; * stands for any run of characters ('*')")
    .option('--scope <list>', `of ${scopes.join(', ')}, with commas (pull)`)
    .option('--expires <time>', 'when it ends: 12h, 90d, 2w, 1y (never)')
    .option('--json', 'print JSON')
    .action(async (name: string, options: CreateOptions) => {
      const body = {
        name,
        caches: options.cache ?? ['*'],
        scopes: parseScopes(options.scope ?? 'pull'),
        expiresAt: parseExpiry(options.expires),
      };
      const api = await ServerApi.open(options);
      const made = await api.call<CreatedToken>('POST', 'tokens', body);
      process.stdout.write(options.json === true ? `${JSON.stringify(made)}\n` : `${made.token}\n`);
    });
}

function list(): Command {
  return addServerOptions(
    createVerb('list', {
      summary: 'List the tokens.',
      examples: [['larder token list', 'who may do what, till when']],
    }),
  )
    .option('--json', 'print JSON')
    .action(async (options: CreateOptions) => {
      const api = await ServerApi.open(options);
      const { tokens } = await api.call<{ tokens: TokenDescription[] }>('GET', 'tokens');
      process.stdout.write(
        options.json === true ? `${JSON.stringify(tokens, undefined, 2)}\n` : tokens.map(describe).join(''),
      );
    });
}

function revoke(): Command {
  return addServerOptions(
    createVerb('revoke', { summary: 'Revoke a token.', examples: [['larder token revoke 7', 'by its id']] }),
  )
    .argument('<id>', 'as larder token list shows')
    .action(async (id: string, options: ServerOptions) => {
      if (!/^\d+$/.test(id))
        throw usageError(`'${id}' is not the id of a token; 'larder token list' shows them`);
      const api = await ServerApi.open(options);
      await api.call('DELETE', `tokens/${id}`);
    });
}

function parseScopes(text: string): Scope[] {
  return text.split(',').map((each) => {
    const scope = scopes.find((known) => known === each.trim());
    if (scope === undefined) throw usageError(`'${each}' is no scope; there are ${scopes.join(', ')}`);
    return scope;
  });
}

function parseExpiry(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  return new Date(Date.now() + parseDuration(text, '--expires') * 1000).toISOString();
}

function describe({
  id,
  name,
  caches,
  scopes: granted,
  expiresAt,
  revokedAt,
  lastUsedAt,
}: TokenDescription): string {
  const state =
    revokedAt !== undefined
      ? `revoked ${revokedAt}`
      : expiresAt === undefined
        ? 'does not expire'
        : `${Date.parse(expiresAt) < Date.now() ? 'expired' : 'expires'} ${expiresAt}`;
  const used = lastUsedAt === undefined ? 'never used' : `last used ${lastUsedAt}`;
  return `${id}  ${name}  ${granted.join(',')} on ${caches.join(' ')}  ${state}, ${used}\n`;
}
