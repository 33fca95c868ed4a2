import { LarderError } from '@larder/signing/errors';
import { parseErrorBody } from '@larder/signing/upload';
import { type CliEnvironment, readCliEnvironment } from '../config.js';

interface Issuer {
  readonly issuer: string;
  readonly audience: string;
}

/** The server of a cache's URL: all but the last part of its path. */
export function serverOfCache(cache: string): string {
  const url = new URL(cache);
  url.search = '';
  url.hash = '';
  return url.href.replace(/\/+$/, '').replace(/\/[^/]+$/, '');
}

/**
 * A token for the server, got with the ID token that the CI system gives this job: GitHub's, where the job has
 * `permissions: id-token: write`, or whatever is in `LARDER_ID_TOKEN` (GitLab: `id_tokens`).
 * @throws `oidc-unavailable` saying what is missing; the server's own error when it refuses
 */
export async function fetchOidcToken(server: string): Promise<string> {
  const { issuers } = await call<{ issuers: Issuer[] }>('GET', `${server}/api/v1/oidc`);
  if (issuers.length === 0)
    throw new LarderError(
      'oidc-unavailable',
      `${server} takes no ID tokens: its operator has to set oidc.issuers`,
    );
  const idToken = await fetchIdToken(readCliEnvironment(), issuers);
  const { token } = await call<{ token: string }>('POST', `${server}/api/v1/oidc/token`, idToken);
  return token;
}

async function fetchIdToken(environment: CliEnvironment, issuers: readonly Issuer[]): Promise<string> {
  if (environment.idToken !== undefined) return environment.idToken;
  const { githubIdToken: github } = environment;
  if (github === undefined)
    throw new LarderError(
      'oidc-unavailable',
      "there is no ID token here. On GitHub the job needs 'permissions: { id-token: write }'; elsewhere put it in the " +
        `environment variable LARDER_ID_TOKEN, for the audience ${issuers[0]?.audience}`,
    );
  const url = new URL(github.url);
  const issuer = issuers.find((each) => /github/i.test(each.issuer)) ?? issuers[0];
  url.searchParams.set('audience', issuer?.audience ?? '');
  // https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments
  return (await call<{ value: string }>('GET', url.href, github.token)).value;
}

async function call<T>(method: string, url: string, token?: string): Promise<T> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(url, { method, headers });
  const document: unknown = await answer.json().catch(() => undefined);
  if (answer.ok && document !== undefined) return document as T;
  const error = parseErrorBody(document);
  if (error !== undefined) throw new LarderError(error.code, error.message);
  throw new LarderError('server-failed', `${method} ${url}: HTTP status ${answer.status}`);
}
