import type { Cache } from '../caches/cache.js';
import type { CacheDirectory } from '../caches/cache-directory.js';
import type { Database } from '../database/database.js';
import { ServerError } from '../errors.js';
import type { Oidc } from './oidc.js';
import { allows, findToken, type Scope, type Token } from './token.js';

/** A request that may go on. */
export interface Grant {
  readonly cache: Cache;
  /** Absent where a public cache is read by anyone. */
  readonly token?: Token;
}

export interface GateOptions {
  readonly database: Database;
  readonly caches: CacheDirectory;
  readonly oidc: Oidc;
  /** Hears of every token that is presented and in force. */
  readonly onUse: (tokenId: number) => void;
}

/**
 * Decides who may do what. It answers before anything of the cache was looked up, and a private cache answers as one that
 * does not exist: 401 without a token, 403 with one that has no business there.
 */
export class Gate {
  readonly #database: Database;
  readonly #caches: CacheDirectory;
  readonly #oidc: Oidc;
  readonly #onUse: (tokenId: number) => void;

  constructor(options: GateOptions) {
    this.#database = options.database;
    this.#caches = options.caches;
    this.#oidc = options.oidc;
    this.#onUse = options.onUse;
  }

  /**
   * @param scopes one of which is needed; reading a public cache needs none
   * @param credential the header Authorization, or who was identified already
   * @throws `unauthorized`, `forbidden`, and `not-found` only to who may know that there is no such cache
   */
  async admit(
    name: string,
    scopes: readonly Scope[],
    credential: string | Token | undefined,
  ): Promise<Grant> {
    if (scopes.includes('pull') && (await this.#caches.isPublic(name))) {
      const cache = await this.#caches.find(name);
      if (cache?.public === true) return { cache };
    }
    const token = await this.identify(credential);
    if (!scopes.some((scope) => allows(token, scope, name))) {
      const needed = scopes.join("' or '");
      throw new ServerError('forbidden', `this token has no '${needed}' scope for a cache '${name}'`, {
        fields: { cache: name, scopes },
      });
    }
    // Not before: whoever measures how long it takes must not learn whether there is one.
    const cache = await this.#caches.find(name);
    if (cache === undefined)
      throw new ServerError('not-found', `there is no cache '${name}'`, { fields: { cache: name } });
    return { cache, token };
  }

  /** Who this is, whatever the token is good for. @throws `unauthorized`, `issuer-failed` */
  async identify(credential: string | Token | undefined): Promise<Token> {
    if (typeof credential === 'object') {
      if (credential.id !== undefined) this.#onUse(credential.id);
      return credential;
    }
    const text = readCredentials(credential);
    if (text !== undefined && this.#oidc.mayBe(text)) {
      const { issuer, subject, ...grants } = await this.#oidc.identify(text);
      return { ...grants, issuer, name: subject };
    }
    const token = text === undefined ? undefined : await findToken(this.#database, text);
    if (token !== undefined) {
      if (token.id !== undefined) this.#onUse(token.id);
      return token;
    }
    throw new ServerError(
      'unauthorized',
      text === undefined
        ? 'a token is needed: as the password of HTTP Basic (a line in the netrc file), or as Bearer'
        : 'the token is not known here, has expired or was revoked',
    );
  }
}

/** Whether the token runs this cache. */
export function mayManage(token: Token, cache: string): boolean {
  return allows(token, 'configure', cache) || allows(token, 'push', cache);
}

/** Whether the token runs the whole server: admin of every cache there is or will be. */
export function isServerAdmin(token: Token): boolean {
  return token.scopes.has('admin') && token.caches.includes('*');
}

/** The token in an Authorization header: Bearer, or the password of Basic, which is all that stock Nix can send. */
export function readCredentials(authorization: string | undefined): string | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+) *$/.exec(authorization ?? '') ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return value;
    case 'basic': {
      const text = Buffer.from(value, 'base64').toString('utf8');
      const colon = text.indexOf(':');
      return colon < 0 || colon === text.length - 1 ? undefined : text.slice(colon + 1);
    }
    default:
      return undefined;
  }
}
