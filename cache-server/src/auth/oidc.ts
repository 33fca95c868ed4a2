import { createHash } from 'node:crypto';
import {
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { fetch as fetchWithAgent } from 'undici';
import { z } from 'zod';
import { ServerError } from '../errors.js';
import { createReachingAgent, ReachableAddresses } from '../upstream/reachable.js';
import { type Grants, matchesPattern, type Scope } from './token.js';

/** What ID tokens of an issuer are good for: the first rule whose claims all match decides. */
export interface OidcRule {
  /** By claim: patterns, one of which must match (one of) the claim's value(s). */
  readonly claims: Readonly<Record<string, readonly string[]>>;
  readonly caches: readonly string[];
  readonly scopes: readonly Scope[];
}

export interface OidcIssuer {
  /** As in `iss`, to the letter. */
  readonly issuer: string;
  readonly audience: string;
  /** Where its keys are; found through discovery without it. */
  readonly jwks_url?: string | undefined;
  readonly rules: readonly OidcRule[];
}

/** Who an ID token says someone is, and what that is good for. */
export interface OidcIdentity extends Grants {
  readonly issuer: string;
  readonly subject: string;
}

export interface OidcOptions {
  /** How long after keys were fetched an unknown one makes us fetch them again, in milliseconds. */
  readonly keysCooldown?: number;
  /** Where an issuer may say that its keys are, besides its own address: public addresses alone by default. */
  readonly reachable?: ReachableAddresses;
}

interface Checked {
  readonly identity: OidcIdentity;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** Only signatures that a public key checks: with HS256 an issuer's public key would do as the secret. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** Seconds that clocks may differ. */
const CLOCK_TOLERANCE = 60;
/** Milliseconds. */
const FETCH_TIMEOUT = 10_000;
/** Keys are fetched anew after this, and at once for one that is not known, if the last time is long enough ago. */
const KEYS_AGE = 600_000;
const KEYS_COOLDOWN = 10_000;
const MAX_CHECKED = 1000;

const discovery = z.looseObject({ issuer: z.string(), jwks_uri: z.url() });

/**
 * ID tokens of CI systems, instead of stored secrets: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
 * Issuers are those of the configuration; nothing is ever fetched because a token says so.
 */
export class Oidc {
  readonly #issuers: ReadonlyMap<string, OidcIssuer>;
  readonly #keysCooldown: number;
  readonly #reachable: ReachableAddresses;
  readonly #keys = new Map<string, Promise<JWTVerifyGetKey>>();
  /** Tokens that were checked, by hash: a push of thousands of paths brings the same one each time. */
  readonly #checked = new Map<string, Checked>();

  constructor(issuers: readonly OidcIssuer[], options: OidcOptions = {}) {
    this.#keysCooldown = options.keysCooldown ?? KEYS_COOLDOWN;
    this.#reachable = options.reachable ?? new ReachableAddresses();
    this.#issuers = new Map(issuers.map((issuer) => [issuer.issuer, issuer]));
  }

  get issuers(): readonly OidcIssuer[] {
    return [...this.#issuers.values()];
  }

  /** Whether this could be an ID token, by its looks, and any are taken. */
  mayBe(text: string): boolean {
    return this.#issuers.size > 0 && /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
  }

  /**
   * Checks signature, issuer, audience and time, and finds the rule.
   * @throws `unauthorized` saying what is wrong with it; `issuer-failed` when the issuer's keys cannot be had
   */
  async identify(text: string): Promise<OidcIdentity> {
    const hash = createHash('sha256').update(text).digest('base64');
    const known = this.#checked.get(hash);
    if (known !== undefined && known.until > Date.now()) return known.identity;
    const issuer = this.#issuerOf(text);
    const payload = await this.#verify(issuer, text);
    const rule = issuer.rules.find((each) => matchesRule(each, payload));
    if (rule === undefined) throw refused('no rule matches its claims');
    const { caches, scopes } = rule;
    const { sub: subject = '', exp = 0 } = payload;
    const identity = { issuer: issuer.issuer, subject, caches, scopes: new Set(scopes) };
    this.#remember(hash, { identity, until: (exp + CLOCK_TOLERANCE) * 1000 });
    return identity;
  }

  #issuerOf(text: string): OidcIssuer {
    try {
      const { iss } = decodeJwt(text);
      const issuer = this.#issuers.get(iss ?? '');
      if (issuer !== undefined) return issuer;
    } catch {
      throw refused('it is malformed');
    }
    throw refused('its issuer is not one of those that are configured');
  }

  async #verify({ issuer, audience, jwks_url: jwksUrl }: OidcIssuer, text: string): Promise<JWTPayload> {
    const keys = await this.#keysOf(issuer, jwksUrl);
    try {
      const { payload } = await jwtVerify(text, keys, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE,
        requiredClaims: ['sub', 'exp', 'iat'],
      });
      return payload;
    } catch (error) {
      if (isRefusal(error)) throw refused(error.message);
      throw issuerFailed(issuer, error);
    }
  }

  /** One attempt at a time; a failed one is not kept. */
  #keysOf(issuer: string, jwksUrl: string | undefined): Promise<JWTVerifyGetKey> {
    const known = this.#keys.get(issuer);
    if (known !== undefined) return known;
    const found = this.#findKeys(issuer, jwksUrl).catch((error: unknown) => {
      this.#keys.delete(issuer);
      throw issuerFailed(issuer, error);
    });
    this.#keys.set(issuer, found);
    return found;
  }

  /** What the operator wrote is fetched from wherever it is; what an issuer says, from no address of the inside. */
  async #findKeys(issuer: string, jwksUrl: string | undefined): Promise<JWTVerifyGetKey> {
    const url = new URL(jwksUrl ?? (await discoverKeys(issuer)));
    if (!/^https?:$/.test(url.protocol)) throw new Error(`its keys are at ${url.href}, and not on the web`);
    const isChosen = jwksUrl !== undefined || url.origin === new URL(issuer).origin;
    const agent = isChosen ? undefined : createReachingAgent(this.#reachable, { timeout: FETCH_TIMEOUT });
    return createRemoteJWKSet(url, {
      cacheMaxAge: KEYS_AGE,
      cooldownDuration: this.#keysCooldown,
      timeoutDuration: FETCH_TIMEOUT,
      [customFetch]: async (target, { signal }) => {
        const options = { redirect: 'error', signal } as const;
        if (agent === undefined) return fetch(target, options);
        const answer = await fetchWithAgent(target, { ...options, dispatcher: agent });
        return new Response(await answer.text(), { status: answer.status });
      },
    });
  }

  #remember(hash: string, checked: Checked): void {
    this.#checked.set(hash, checked);
    for (const oldest of this.#checked.keys()) {
      if (this.#checked.size <= MAX_CHECKED) break;
      this.#checked.delete(oldest);
    }
  }
}

/** https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig */
async function discoverKeys(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT), redirect: 'error' });
  if (!answer.ok) throw new Error(`${url}: status ${answer.status}`);
  const found = discovery.parse(await answer.json());
  if (found.issuer !== issuer) throw new Error(`${url} is about the issuer ${found.issuer}`);
  return found.jwks_uri;
}

function matchesRule({ claims }: OidcRule, payload: JWTPayload): boolean {
  return Object.entries(claims).every(([name, patterns]) => {
    const claim = Object.hasOwn(payload, name) ? payload[name] : undefined;
    const values = (Array.isArray(claim) ? (claim as unknown[]) : [claim]).filter(isSimple).map(String);
    return values.some((value) => patterns.some((pattern) => matchesPattern(pattern, value)));
  });
}

function isSimple(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/** Whether the token is at fault, rather than the way to the issuer's keys. */
function isRefusal(error: unknown): error is errors.JOSEError {
  if (!(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout) return false;
  // Thrown for a key set that answers with another status, too.
  return error.code !== 'ERR_JOSE_GENERIC' && error.code !== 'ERR_JWKS_INVALID';
}

function refused(why: string): ServerError {
  return new ServerError('unauthorized', `the ID token is refused: ${why}`);
}

function issuerFailed(issuer: string, cause: unknown): ServerError {
  return new ServerError('issuer-failed', `cannot get the keys of ${issuer}`, { cause });
}
