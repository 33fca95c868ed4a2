import { LarderError } from '@larder/signing/errors';
import type { FetchInput } from '../eval/host.js';

const archiveEnding = /\.(zip|tar|tgz|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$/;

/** The attributes of an input given as a URL, such as `github:owner/repo/ref` or `git+https://…?ref=…`. */
export function inputFromUrl(text: string): FetchInput {
  const [beforeFragment] = text.split('#') as [string];
  const queryStart = beforeFragment.indexOf('?');
  const plain = queryStart < 0 ? beforeFragment : beforeFragment.slice(0, queryStart);
  const query = new URLSearchParams(queryStart < 0 ? '' : beforeFragment.slice(queryStart + 1));
  const extra = readQuery(query);
  const forge = /^(github|gitlab|sourcehut):([^/]+)\/([^/]+)(?:\/(.+))?$/.exec(plain);
  if (forge !== null) {
    const [, type, owner, repo, refOrRev] = forge as unknown as [string, string, string, string, string?];
    return { type, owner, repo, ...refOrRevAttrs(refOrRev), ...extra };
  }
  if (/^git\+/.test(plain)) return { type: 'git', url: plain.slice('git+'.length), ...extra };
  if (/^git:\/\//.test(plain)) return { type: 'git', url: plain, ...extra };
  if (plain.startsWith('path:')) return { type: 'path', path: plain.slice('path:'.length), ...extra };
  if (/^[./]/.test(plain)) return { type: 'path', path: plain, ...extra };
  const archive = /^(tarball|file)\+(.*)$/.exec(plain);
  if (archive !== null) return { type: archive[1]!, url: archive[2]!, ...extra };
  if (/^(https?|file):/.test(plain)) {
    return { type: archiveEnding.test(plain) ? 'tarball' : 'file', url: plain, ...extra };
  }
  const indirect = /^(?:flake:)?([a-zA-Z][a-zA-Z0-9_-]*)(?:\/(.+))?$/.exec(plain);
  if (indirect !== null)
    return { type: 'indirect', id: indirect[1]!, ...refOrRevAttrs(indirect[2]), ...extra };
  throw new LarderError('input-malformed', `'${text}' is not a valid URL`);
}

const isRev = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

function refOrRevAttrs(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  if (isRev(text)) return { rev: text };
  const both = /^(.*)\/([0-9a-f]{40})$/.exec(text);
  return both === null ? { ref: text } : { ref: both[1]!, rev: both[2]! };
}

const numeric = new Set(['lastModified', 'revCount']);
const switches = new Set(['submodules', 'shallow', 'allRefs', 'exportIgnore', 'lfs', 'unpack']);

function readQuery(query: URLSearchParams): Record<string, string | number | boolean> {
  const attrs: Record<string, string | number | boolean> = {};
  for (const [key, value] of query) {
    if (numeric.has(key)) attrs[key] = Number(value);
    else if (switches.has(key)) attrs[key] = value === '1' || value === 'true';
    else attrs[key] = value;
  }
  return attrs;
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
      return { url: `https://${server}/${owner}/${repo}/archive/${rev}.tar.gz`, rev };
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
