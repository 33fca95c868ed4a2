import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

/** An OpenID Connect issuer on this machine, with keys that can be changed, counting how often they are fetched. */
export class TokenIssuer implements AsyncDisposable {
  readonly url: string;
  /** The GitHub-like endpoint that gives a job its ID token. */
  readonly requestUrl: string;
  readonly requestToken = 'job-secret';
  keysFetched = 0;
  /** Answers of everything while it is set. */
  failing = false;
  jobClaims: JWTPayload = {};
  readonly #close: () => Promise<void>;
  #keys: { readonly jwk: JWK; readonly secret: CryptoKey }[] = [];

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.requestUrl = `${url}/job-token?version=2`;
    this.#close = close;
  }

  static async start(): Promise<TokenIssuer> {
    const server = createServer((incoming, outgoing) => {
      void issuer
        .#answer(new URL(incoming.url ?? '', issuer.url), incoming.headers.authorization)
        .then((body) => {
          outgoing.writeHead(body === undefined ? 500 : 200, { 'Content-Type': 'application/json' });
          outgoing.end(JSON.stringify(body ?? {}));
        });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const issuer = new TokenIssuer(url, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    await issuer.rotate();
    return issuer;
  }

  async #answer({ pathname, searchParams }: URL, authorization: string | undefined): Promise<unknown> {
    if (this.failing) return undefined;
    switch (pathname) {
      case '/.well-known/openid-configuration':
        return { issuer: this.url, jwks_uri: `${this.url}/keys` };
      case '/keys':
        this.keysFetched++;
        return { keys: this.#keys.map(({ jwk }) => jwk) };
      case '/job-token':
        if (authorization !== `Bearer ${this.requestToken}`) return undefined;
        return { value: await this.sign({ ...this.jobClaims, aud: searchParams.get('audience') ?? '' }) };
      default:
        return undefined;
    }
  }

  /** Signs with a new key from now on; the old ones are not told any more. */
  async rotate(): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid: `key-${Date.now()}-${Math.random()}`, alg: 'ES256' };
    this.#keys = [{ jwk, secret: privateKey }];
  }

  /** An ID token of these claims; times, issuer and subject are added where they are not given. */
  async sign(claims: JWTPayload): Promise<string> {
    const [key] = this.#keys;
    if (key === undefined) throw new Error('no key');
    const now = Math.floor(Date.now() / 1000);
    const payload = { iss: this.url, sub: 'repo:example/app', iat: now, exp: now + 300, ...claims };
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: key.jwk.kid ?? '' }).sign(key.secret);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}
