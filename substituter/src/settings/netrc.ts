import { readFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';

export interface Login {
  readonly user: string;
  readonly password: string;
}

/**
 * Logins by host name, from the netrc file that Nix and curl share: the only way for a stock client to
 * reach a private cache.
 */
export class Netrc {
  readonly #machines = new Map<string, Login>();
  readonly #fallback: Login | undefined;

  constructor(machines: ReadonlyMap<string, Login>, fallback?: Login) {
    this.#machines = new Map(machines);
    this.#fallback = fallback;
  }

  /** The login for a host (without port, as in curl), or the file's `default`. */
  find(host: string): Login | undefined {
    return this.#machines.get(host.toLowerCase()) ?? this.#fallback;
  }

  /** The value of an `Authorization` header for a URL; a login inside the URL goes first. */
  authorization(url: URL): string | undefined {
    const inline: Login | undefined =
      url.username === ''
        ? undefined
        : { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
    const login = inline ?? this.find(url.hostname);
    if (login === undefined) return undefined;
    return `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
  }
}

/** The file's logins; a file that is not there has none. Throws `netrc-unreadable`. */
export function readNetrc(path: string): Netrc {
  try {
    return parseNetrc(readFileSync(path, 'utf8'));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Nix lets a user without the right to read the system's file go on without it.
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return new Netrc(new Map());
    throw new LarderError('netrc-unreadable', `Cannot read the netrc file ${path}.`, { cause: error });
  }
}

/** Parses netrc text: `machine H login U password P`, `default`, comments, quotes; macros are skipped. */
export function parseNetrc(text: string): Netrc {
  const machines = new Map<string, Login>();
  let fallback: Login | undefined;
  const tokens = tokenize(text);
  for (let index = 0; index < tokens.length; ) {
    const token = tokens[index++];
    if (token !== 'machine' && token !== 'default') continue;
    const host = token === 'machine' ? tokens[index++] : undefined;
    let user = '';
    let password = '';
    while (index < tokens.length && tokens[index] !== 'machine' && tokens[index] !== 'default') {
      const key = tokens[index++];
      if (key === 'login') user = tokens[index++] ?? '';
      else if (key === 'password') password = tokens[index++] ?? '';
      else if (key === 'account') index++;
    }
    if (token === 'default') fallback ??= { user, password };
    else if (host !== undefined && !machines.has(host.toLowerCase())) {
      machines.set(host.toLowerCase(), { user, password });
    }
  }
  return new Netrc(machines, fallback);
}

function tokenize(text: string): string[] {
  const withoutMacros = text.replace(/^[ \t]*macdef[^\n]*\n(?:[^\n]+\n)*/gm, '');
  const tokens: string[] = [];
  for (const line of withoutMacros.split('\n')) {
    // A comment starts a word: a password may contain "#".
    for (const match of line.matchAll(/"((?:\\.|[^"\\])*)"|(#.*)|(\S+)/g)) {
      if (match[1] !== undefined) tokens.push(match[1].replace(/\\(.)/g, '$1'));
      else if (match[3] !== undefined) tokens.push(match[3]);
      else break;
    }
  }
  return tokens;
}
