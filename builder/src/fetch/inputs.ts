import { LarderError } from '@larder/signing/errors';
import { fetchInputOf, parseFlakeRef } from '../eval/flake-ref.js';
import type { FetchInput } from '../eval/host.js';

/** The attributes of an input given as a URL. @throws LarderError `input-malformed` */
export function inputFromUrl(text: string): FetchInput {
  const ref = parseFlakeRef(text);
  if (ref === undefined) throw new LarderError('input-malformed', `'${text}' is not a valid URL`);
  return fetchInputOf(ref);
}

async function fetchJson(url: string): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, { headers: { 'user-agent': 'larder' } });
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

/** The archive of a repository at a forge, at its revision; one without is looked up by its ref. */
export async function forgeArchive(input: FetchInput): Promise<{ url: string; rev: string }> {
  const owner = String(input.owner);
  const repo = String(input.repo);
  const host = input.host === undefined ? undefined : String(input.host);
  const ref = input.ref === undefined ? 'HEAD' : String(input.ref);
  const given = typeof input.rev === 'string' ? input.rev : undefined;
  switch (String(input.type)) {
    case 'github': {
      const server = host ?? 'github.com';
      const api = server === 'github.com' ? 'https://api.github.com' : `https://${server}/api/v3`;
      const rev =
        given ?? ((await fetchJson(`${api}/repos/${owner}/${repo}/commits/${ref}`)) as { sha: string }).sha;
      const archive =
        server === 'github.com'
          ? `https://${server}/${owner}/${repo}/archive/${rev}.tar.gz`
          : `${api}/repos/${owner}/${repo}/tarball/${rev}`;
      return { url: archive, rev };
    }
    case 'gitlab': {
      const server = host ?? 'gitlab.com';
      const project = encodeURIComponent(`${decodeURIComponent(owner)}/${repo}`);
      const api = `https://${server}/api/v4/projects/${project}/repository`;
      const commits = given === undefined ? await fetchJson(`${api}/commits?ref_name=${ref}`) : undefined;
      const rev = given ?? (commits as { id: string }[])[0]!.id;
      return { url: `${api}/archive.tar.gz?sha=${rev}`, rev };
    }
    default: {
      const server = host ?? 'git.sr.ht';
      if (given === undefined) {
        throw new LarderError('input-unlocked', `sourcehut:${owner}/${repo} needs a revision ('rev')`);
      }
      return { url: `https://${server}/${owner}/${repo}/archive/${given}.tar.gz`, rev: given };
    }
  }
}
