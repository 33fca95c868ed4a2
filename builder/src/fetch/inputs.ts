import { LarderError } from '@larder/signing/errors';
import { fetchInputOf, parseFlakeRef } from '../eval/flake-ref.js';
import type { FetchInput } from '../eval/host.js';
import { type AccessTokens, accessHeaders } from './access-tokens.js';

/** The attributes of an input given as a URL. @throws LarderError `input-malformed` */
export function inputFromUrl(text: string): FetchInput {
  const ref = parseFlakeRef(text);
  if (ref === undefined) throw new LarderError('input-malformed', `'${text}' is not a valid URL`);
  return fetchInputOf(ref);
}

async function fetchJson(url: string, headers: Readonly<Record<string, string>>): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, { headers: { ...headers, 'user-agent': 'larder' } });
  } catch (error) {
    throw new LarderError('download-failed', `unable to download '${url}': the server could not be reached`, {
      cause: error,
    });
  }
  if (!response.ok) {
    throw new LarderError('download-failed', `unable to download '${url}': HTTP error ${response.status}`);
  }
  return response.json();
}

/** Where an archive is, and what a request for it carries. */
export interface ForgeArchive {
  readonly url: string;
  readonly rev: string;
  readonly headers: Readonly<Record<string, string>>;
}

const forgeHosts: Readonly<Record<string, string>> = { github: 'github.com', gitlab: 'gitlab.com' };

/** The archive of a repository at a forge, at its revision; one without is looked up by its ref. */
export async function forgeArchive(input: FetchInput, tokens: AccessTokens): Promise<ForgeArchive> {
  const owner = String(input.owner);
  const repo = String(input.repo);
  const server = String(input.host ?? forgeHosts[String(input.type)] ?? 'git.sr.ht');
  const headers = accessHeaders(input, server, tokens);
  const ref = input.ref === undefined ? 'HEAD' : String(input.ref);
  const given = typeof input.rev === 'string' ? input.rev : undefined;
  switch (String(input.type)) {
    case 'github': {
      const api = server === 'github.com' ? 'https://api.github.com' : `https://${server}/api/v3`;
      const commit = `${api}/repos/${owner}/${repo}/commits/${ref}`;
      const rev = given ?? ((await fetchJson(commit, headers)) as { sha: string }).sha;
      // The public archive is not counted against the rate limit of the API; a private one is there alone.
      const archive =
        server === 'github.com' && headers.authorization === undefined
          ? `https://${server}/${owner}/${repo}/archive/${rev}.tar.gz`
          : `${api}/repos/${owner}/${repo}/tarball/${rev}`;
      return { url: archive, rev, headers };
    }
    case 'gitlab': {
      const project = encodeURIComponent(`${decodeURIComponent(owner)}/${repo}`);
      const api = `https://${server}/api/v4/projects/${project}/repository`;
      const commits =
        given === undefined ? await fetchJson(`${api}/commits?ref_name=${ref}`, headers) : undefined;
      const rev = given ?? (commits as { id: string }[])[0]!.id;
      return { url: `${api}/archive.tar.gz?sha=${rev}`, rev, headers };
    }
    default: {
      if (given === undefined) {
        throw new LarderError('input-unlocked', `sourcehut:${owner}/${repo} needs a revision ('rev')`);
      }
      return { url: `https://${server}/${owner}/${repo}/archive/${given}.tar.gz`, rev: given, headers };
    }
  }
}
