import type { FetchInput } from './host.js';

/** Attributes of a flake reference, `dir` among them. */
export type FlakeRef = Readonly<Record<string, string | number | boolean>>;

const archiveEnding = /\.(zip|tar|tgz|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$/;
const numeric = new Set(['lastModified', 'revCount']);
const switches = new Set(['submodules', 'shallow', 'allRefs', 'exportIgnore', 'lfs', 'unpack']);

const isArchive = (url: string): boolean => archiveEnding.test(url.replace(/\?.*$/, ''));

const isRev = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

function refOrRev(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  if (isRev(text)) return { rev: text };
  const both = /^(.*)\/([0-9a-f]{40})$/.exec(text);
  return both === null ? { ref: text } : { ref: both[1]!, rev: both[2]! };
}

/** What of a query is Nix's own, for kinds of references whose address has a query itself: the server gets the rest. */
const own: Readonly<Record<string, ReadonlySet<string>>> = {
  git: new Set(
    'dir rev ref name narHash revCount lastModified shallow lfs submodules exportIgnore allRefs verifyCommit keytype publicKey publicKeys'.split(
      ' ',
    ),
  ),
  tarball: new Set('dir rev name narHash revCount lastModified unpack'.split(' ')),
};

/** A reference whose address has a query of its own. */
function addressed(type: 'git' | 'tarball' | 'file', url: string, query: string): FlakeRef {
  const known = type === 'git' ? own['git']! : own['tarball']!;
  const all = entriesOf(query);
  const rest = all.filter(([key]) => !known.has(key));
  const extra = readEntries(all.filter(([key]) => known.has(key)));
  return { type, url: `${url}${formatQuery(rest)}`, ...extra };
}

function formatQuery(entries: readonly (readonly [key: string, value: string])[]): string {
  const text = entries.map(
    ([key, value]) => `${key}=${encodeURIComponent(value).replaceAll('%2F', '/').replaceAll('%3A', ':')}`,
  );
  return text.length === 0 ? '' : `?${text.join('&')}`;
}

/** A plus is a plus in them. */
function entriesOf(query: string): [key: string, value: string][] {
  return [...new URLSearchParams(query.replaceAll('+', '%2B'))];
}

function readEntries(
  entries: readonly (readonly [key: string, value: string])[],
): Record<string, string | number | boolean> {
  const attrs: Record<string, string | number | boolean> = {};
  for (const [key, value] of entries) {
    if (numeric.has(key)) attrs[key] = Number(value);
    else if (switches.has(key)) attrs[key] = value === '1' || value === 'true';
    else attrs[key] = value;
  }
  return attrs;
}

/**
 * Reads a flake reference such as `github:owner/repo/ref?dir=lib`, `git+https://…`, `path:/…` or `nixpkgs`.
 * Undefined for what is none. Format: the Nix manual, "Flake references".
 */
export function parseFlakeRef(text: string): FlakeRef | undefined {
  const [withoutFragment] = text.split('#') as [string];
  const mark = withoutFragment.indexOf('?');
  const plain = mark < 0 ? withoutFragment : withoutFragment.slice(0, mark);
  const query = mark < 0 ? '' : withoutFragment.slice(mark + 1);
  const extra = readEntries(entriesOf(query));
  const forge = /^(github|gitlab|sourcehut):([^/]+)\/([^/]+)(?:\/(.+))?$/.exec(plain);
  if (forge !== null) {
    const [, type, owner, repo, rest] = forge as unknown as [string, string, string, string, string?];
    return { type, owner, repo, ...refOrRev(rest), ...extra };
  }
  if (plain.startsWith('git+')) return addressed('git', plain.slice('git+'.length), query);
  if (plain.startsWith('git://')) return addressed('git', plain, query);
  if (plain.startsWith('path:')) return { type: 'path', path: plain.slice('path:'.length), ...extra };
  if (/^[./]/.test(plain)) return { type: 'path', path: plain, ...extra };
  const archive = /^(tarball|file)\+(.*)$/.exec(plain);
  if (archive !== null) return addressed(archive[1] as 'tarball' | 'file', archive[2]!, query);
  if (/^(https?|file):/.test(plain)) {
    return addressed(archiveEnding.test(plain) ? 'tarball' : 'file', plain, query);
  }
  const indirect = /^(?:flake:)?([a-zA-Z][a-zA-Z0-9_-]*)(?:\/(.+))?$/.exec(plain);
  if (indirect === null) return undefined;
  return { type: 'indirect', id: indirect[1]!, ...refOrRev(indirect[2]), ...extra };
}

/** What the query of a reference of a kind shows: not what follows from the rest. */
const queried: Readonly<Record<string, readonly string[]>> = {
  git: 'rev ref shallow lfs submodules exportIgnore verifyCommit keytype publicKey publicKeys'.split(' '),
  hg: ['rev', 'ref'],
  github: ['narHash', 'host'],
  gitlab: ['narHash', 'host'],
  sourcehut: ['narHash', 'host'],
  tarball: ['narHash'],
  file: ['narHash'],
  indirect: [],
};

function withQuery(base: string, ref: FlakeRef): string {
  const shown = queried[String(ref['type'])];
  const attrs = Object.keys(ref)
    .filter((key) => key === 'dir' || (shown?.includes(key) ?? (key !== 'type' && key !== 'path')))
    .filter((key) => ref[key] !== false)
    .map((key) => [key, ref[key] === true ? '1' : ref[key]!.toString()] as const);
  const [address = '', query] = base.split('?');
  const entries = [...attrs, ...entriesOf(query ?? '')];
  return address + formatQuery(entries.sort(([a], [b]) => (a < b ? -1 : Number(a > b))));
}

/** Writes a flake reference as a URL, as the newest Nix does. */
export function formatFlakeRef(ref: FlakeRef): string {
  const text = (key: string): string => String(ref[key] ?? '');
  const tail = ['ref', 'rev']
    .filter((key) => ref[key] !== undefined)
    .map((key) => `/${text(key)}`)
    .join('');
  switch (text('type')) {
    case 'github':
    case 'gitlab':
    case 'sourcehut':
      return withQuery(`${text('type')}:${text('owner')}/${text('repo')}${tail}`, ref);
    case 'git':
    case 'hg':
      return withQuery(`${text('url').startsWith('git:') ? '' : `${text('type')}+`}${text('url')}`, ref);
    case 'path':
      return withQuery(`path:${text('path')}`, ref);
    case 'indirect':
      return withQuery(`flake:${text('id')}${tail}`, ref);
    case 'tarball':
    case 'file': {
      const implied = isArchive(text('url')) === (text('type') === 'tarball');
      return withQuery(`${implied ? '' : `${text('type')}+`}${text('url')}`, ref);
    }
    default:
      return text('url');
  }
}

/** What is fetched for a reference: all but the directory inside. */
export function fetchInputOf(ref: FlakeRef): FetchInput {
  const { dir: _, ...input } = ref;
  return input;
}

/** Whether a reference names one tree for ever. */
export function isLocked(ref: FlakeRef): boolean {
  return ref['rev'] !== undefined || ref['narHash'] !== undefined;
}
