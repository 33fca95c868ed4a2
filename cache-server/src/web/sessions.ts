import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie';
import { findTokenById, type Token } from '../auth/token.js';
import type { Database } from '../database/database.js';
import { ServerError } from '../errors.js';
import type { RouteContext } from '../http/route.js';

const COOKIE = 'larder-session';
/** Seconds. A token that expires or is revoked before ends its sessions at once. */
const LIFETIME = 30 * 86_400;

/** Someone who logged in to the pages. */
export interface Session {
  readonly token: Token;
  /** What forms of this session send along, so that no other site's can. */
  readonly formKey: string;
}

/**
 * Logins of people: a signed cookie that names a token, by its number and not by its text. It is looked up at every request,
 * so that replicas need to share nothing but the key they sign with.
 */
export class Sessions {
  readonly #database: Database;
  readonly #secret: Buffer;
  readonly #isSecure: boolean;

  /**
   * @param secret the same for all replicas
   * @param options whether browsers reach the server over TLS
   */
  constructor(database: Database, secret: Buffer, options: { readonly isSecure: boolean }) {
    this.#database = database;
    this.#secret = secret;
    this.#isSecure = options.isSecure;
  }

  /** @throws `unauthorized` for a token of another issuer, which is for minutes and cannot be looked up again */
  async begin(context: RouteContext, token: Token): Promise<void> {
    if (token.id === undefined)
      throw new ServerError('unauthorized', 'logging in takes a token of this server');
    const expires = Math.floor(Date.now() / 1000) + LIFETIME;
    const value = `${token.id}.${expires}.${randomBytes(9).toString('base64url')}`;
    await setSignedCookie(context, COOKIE, value, this.#secret, {
      path: '/',
      httpOnly: true,
      sameSite: 'Lax',
      maxAge: LIFETIME,
      ...(this.#isSecure ? { secure: true, prefix: 'host' } : {}),
    });
  }

  end(context: RouteContext): void {
    deleteCookie(context, COOKIE, {
      path: '/',
      ...(this.#isSecure ? { secure: true, prefix: 'host' } : {}),
    });
  }

  /** The session that the request's cookie stands for, if it is ours and its token is in force. */
  async find(context: RouteContext): Promise<Session | undefined> {
    const value = await getSignedCookie(context, this.#secret, COOKIE, this.#isSecure ? 'host' : undefined);
    if (typeof value !== 'string') return undefined;
    const [id, expires] = value.split('.');
    if (Number(expires) * 1000 < Date.now()) return undefined;
    const token = await findTokenById(this.#database, Number(id));
    return token === undefined ? undefined : { token, formKey: this.#formKey(value) };
  }

  #formKey(value: string): string {
    return createHmac('sha256', this.#secret).update(`form ${value}`).digest('base64url');
  }
}

/** Whether a form was sent by a page of this session. @throws `forbidden` */
export function checkFormKey(session: Session, given: string | null): void {
  const expected = Buffer.from(session.formKey);
  const actual = Buffer.from(given ?? '');
  if (expected.length === actual.length && timingSafeEqual(expected, actual)) return;
  throw new ServerError('forbidden', 'this form is not one of this session; load the page again');
}

/**
 * Whether a request was made by a page of this server and not by another site's: browsers say so in either of two headers.
 * @throws `forbidden`
 */
export function checkSameOrigin(context: RouteContext, publicUrl: string | undefined): void {
  const { headers } = context.env.incoming;
  const site = headers['sec-fetch-site'];
  if (site === 'same-origin' || site === 'none') return;
  if (site === undefined && headers.origin !== undefined) {
    const own = [publicUrl, `http://${headers.host}`, `https://${headers.host}`];
    if (own.some((url) => url !== undefined && URL.canParse(url) && new URL(url).origin === headers.origin))
      return;
  }
  throw new ServerError('forbidden', 'this form was not sent by a page of this server');
}
