import { parseCacheInfo } from '@larder/signing/cache-info';
import { parseCacheDescription } from '@larder/signing/upload';
import { readNetrc } from '@larder/substituter/settings/netrc';
import type { Settings } from '@larder/substituter/settings/settings';
import { type Finding, failed, ok, warning } from './finding.js';

const TIMEOUT = 15_000;
/** More than this, and tokens and certificates that are good look as if they were not. */
const MAX_CLOCK_SKEW = 60_000;

/** What can be wrong with one cache, the likeliest fault first; what comes after a fault that hides it is left out. */
export async function examineCache(cache: string, settings: Settings): Promise<Finding[]> {
  const url = cache.replace(/[?#].*$/, '').replace(/\/+$/, '');
  if (!/^https?:/.test(url)) return [ok('reachable', `${cache} is not asked over HTTP: not looked at`)];
  const authorization = readNetrc(settings.get('netrc-file')).authorization(new URL(url));
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
  const answer = await ask(`${url}/nix-cache-info`, headers);
  if (answer instanceof Error) return [unreachable(url, answer)];
  const clock = examineClock(url, answer.date);
  if (answer.status !== 200)
    return [
      refusal(url, { status: answer.status, hasLogin: authorization !== undefined, settings }),
      ...clock,
    ];
  const findings: Finding[] = [ok('reachable', `${url} answers`), ...clock];
  const storeDir = settings.directories.storeDir.value;
  const info = readInfo(answer.body);
  if (info === undefined)
    return [failed('reachable', `${url} is not a binary cache`, 'check its URL'), ...clock];
  if (info.storeDir !== storeDir)
    findings.push(
      failed(
        'store-dir',
        `${url} has paths of ${info.storeDir}, the store here is ${storeDir}`,
        'no path of it fits here',
      ),
    );
  findings.push(...(await examineKeys(url, { headers, settings })), ...examineOrder(url, settings));
  return findings;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly date: string | undefined;
}

async function ask(url: string, headers: Record<string, string>): Promise<Answer | Error> {
  try {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT) });
    return {
      status: answer.status,
      body: await answer.text(),
      date: answer.headers.get('date') ?? undefined,
    };
  } catch (error) {
    return error as Error;
  }
}

function unreachable(url: string, error: Error): Finding {
  const cause = (error.cause ?? error) as NodeJS.ErrnoException;
  const { hostname } = new URL(url);
  switch (cause.code ?? '') {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failed('reachable', `the name ${hostname} is not known`, 'check the URL and the name server');
    case 'ECONNREFUSED':
      return failed(
        'reachable',
        `nothing listens at ${new URL(url).host}`,
        'is the server running, and the port right?',
      );
    default:
      return /CERT|SELF_SIGNED|ISSUER/.test(cause.code ?? '')
        ? failed(
            'reachable',
            `the certificate of ${hostname} is refused: ${cause.message}`,
            'set ssl-cert-file to one that signs it, and check the clock',
          )
        : failed(
            'reachable',
            `${url} cannot be reached: ${cause.message}`,
            'check the network, a proxy or a firewall',
          );
  }
}

interface Refused {
  readonly status: number;
  readonly hasLogin: boolean;
  readonly settings: Settings;
}

function refusal(url: string, { status, hasLogin, settings }: Refused): Finding {
  const file = settings.get('netrc-file');
  const { hostname, origin } = new URL(url);
  const login = `larder login ${origin}`;
  if (status === 401 && !hasLogin)
    return failed('login', `${url} takes a token, and ${file} has none for ${hostname}`, login);
  if (status === 401)
    return failed(
      'login',
      `${url} refuses the token for ${hostname} in ${file}: expired, revoked, or not its own`,
      login,
    );
  if (status === 403)
    return failed(
      'login',
      `the token for ${hostname} in ${file} is not for this cache`,
      'have one made with the pull scope for it',
    );
  if (status === 404)
    return failed('reachable', `there is no cache at ${url}`, 'check the name of the cache');
  return failed('reachable', `${url} answers with status ${status}`, "the server's log says why");
}

function examineClock(url: string, date: string | undefined): Finding[] {
  const skew = Date.now() - Date.parse(date ?? '');
  if (Number.isNaN(skew) || Math.abs(skew) < MAX_CLOCK_SKEW) return [];
  const minutes = Math.round(Math.abs(skew) / 60_000);
  const text = `this machine's clock is ${minutes} min ${skew > 0 ? 'ahead of' : 'behind'} that of ${new URL(url).host}`;
  return [warning('clock', text, 'set the clock: certificates and tokens depend on it')];
}

function readInfo(text: string): { readonly storeDir: string } | undefined {
  try {
    return parseCacheInfo(text);
  } catch {
    return undefined;
  }
}

async function examineKeys(
  url: string,
  { headers, settings }: { readonly headers: Record<string, string>; readonly settings: Settings },
): Promise<Finding[]> {
  const [, server, name] = /^(.*)\/([^/]+)$/.exec(url) ?? [];
  const answer = await ask(`${server}/api/v1/caches/${name}`, headers);
  const published = answer instanceof Error ? undefined : readKeys(answer);
  // Another kind of cache does not say what it signs with.
  if (published === undefined) return [];
  const { value, origin } = settings.sourced('trusted-public-keys');
  const trusted: readonly string[] = value;
  const missing = published.filter((key) => !trusted.includes(key));
  if (missing.length === 0) return [ok('key', `the keys of ${url} are trusted`)];
  const remedy = `larder use ${url}`;
  const names = missing.map((key) => key.slice(0, key.indexOf(':')));
  const impostor = names.find((each) => trusted.some((key) => key.startsWith(`${each}:`)));
  if (impostor !== undefined)
    return [
      failed('key', `the key '${impostor}' that is trusted (${origin}) is not the one ${url} has`, remedy),
    ];
  return missing.length === published.length
    ? [
        failed(
          'key',
          `${url} signs with ${names.join(', ')}, which trusted-public-keys (${origin}) lacks`,
          remedy,
        ),
      ]
    : [warning('key', `of the keys of ${url}, ${names.join(', ')} is not trusted yet`, remedy)];
}

function readKeys({ status, body }: Answer): readonly string[] | undefined {
  try {
    return status === 200 ? parseCacheDescription(JSON.parse(body)).publicKeys : undefined;
  } catch {
    return undefined;
  }
}

function examineOrder(url: string, settings: Settings): Finding[] {
  const configured = settings
    .get('substituters')
    .map((each) => each.replace(/[?#].*$/, '').replace(/\/+$/, ''));
  if (configured.includes(url)) return [];
  return [failed('substituters', `${url} is not one of the substituters`, `larder use ${url}`)];
}
