import type { FetchInput } from '../eval/host.js';

/** A token by what it is for: a host, or a place below one such as `github.com/owner`. */
export type AccessTokens = Readonly<Record<string, string>>;

/** Reads the setting `access-tokens`: words of the form `HOST=TOKEN`. What is not of that form says nothing. */
export function parseAccessTokens(text: string): AccessTokens {
  const tokens: Record<string, string> = {};
  for (const word of text.split(/\s+/)) {
    const equals = word.indexOf('=');
    if (equals > 0) tokens[word.slice(0, equals)] = word.slice(equals + 1);
  }
  return tokens;
}

/** The headers that a request to a forge carries: those of the token for the longest place that the repository is below. */
export function accessHeaders(input: FetchInput, host: string, tokens: AccessTokens): Record<string, string> {
  const place = `${host}/${String(input.owner)}/${String(input.repo)}`;
  const [found] = Object.keys(tokens)
    .filter((key) => place === key || place.startsWith(`${key}/`))
    .sort((a, b) => b.length - a.length);
  return found === undefined ? {} : headersOf(String(input.type), tokens[found]!);
}

/**
 * Each forge takes a token in its own way. All go by the header that is left out when a redirection leads to another host,
 * which GitLab takes personal tokens in, too.
 */
function headersOf(forge: string, token: string): Record<string, string> {
  if (forge === 'github') return { authorization: `token ${token}` };
  if (forge !== 'gitlab') return { authorization: `Bearer ${token}` };
  const typed = /^(?:OAuth2|PAT):(.*)$/.exec(token);
  return typed === null ? {} : { authorization: `Bearer ${typed[1]}` };
}
