import { NixError } from './errors.js';
import { formatErrorAsWarning } from './format-error.js';
import { machine } from './machine.js';
import { canonicalPath } from './parser.js';
import { isPseudoUrl, type SearchPathEntry } from './search-path-entry.js';

/** The rest of a lookup after an entry's prefix; undefined if the entry is not for it. */
function suffixAfter(prefix: string, path: string): string | undefined {
  const separated = prefix.length > 0 && prefix.length < path.length;
  if (separated && path[prefix.length] !== '/') return undefined;
  if (!path.startsWith(prefix)) return undefined;
  return path.slice(separated ? prefix.length + 1 : prefix.length);
}

const resolved = new WeakMap<object, Map<string, string | undefined>>();

/** Where an entry's path is: downloaded if it is a URL; undefined, with a warning, if it is nowhere. */
function resolveEntry(path: string): string | undefined {
  const { host } = machine;
  let known = resolved.get(host);
  if (known === undefined) {
    known = new Map();
    resolved.set(host, known);
  }
  if (!known.has(path)) known.set(path, resolveAfresh(path));
  return known.get(path);
}

function resolveAfresh(path: string): string | undefined {
  const { host } = machine;
  if (isPseudoUrl(path)) {
    const url = path.startsWith('channel:')
      ? `https://channels.nixos.org/${path.slice('channel:'.length)}/nixexprs.tar.xz`
      : path;
    try {
      return `${host.storeDir}/${host.fetchUrl({ url, name: 'source', unpack: true, sha256: undefined })}`;
    } catch (error) {
      if (!(error instanceof NixError)) throw error;
      warn(`Nix search path entry '${path}' cannot be downloaded, ignoring`);
      return undefined;
    }
  }
  if (path.startsWith('flake:')) {
    const tree = host.fetchTree({ url: path.slice('flake:'.length) });
    return `${host.storeDir}/${tree.storePath}`;
  }
  const full = canonicalPath(path, host.workingDirectory());
  if (host.fileType(host.resolveSymlinks(full)) !== undefined) return full;
  warn(`Nix search path entry '${path}' does not exist, ignoring`);
  return undefined;
}

function warn(text: string): void {
  machine.host.log(formatErrorAsWarning(new NixError('other', text)));
}

/** Finds what `<path>` means along a search path. */
export function findFile(entries: readonly SearchPathEntry[], path: string): string {
  const { host, settings } = machine;
  for (const entry of entries) {
    const suffix = suffixAfter(entry.prefix, path);
    if (suffix === undefined) continue;
    const root = resolveEntry(entry.path);
    if (root === undefined) continue;
    const candidate = host.resolveSymlinks(canonicalPath(suffix === '' ? root : `${root}/${suffix}`));
    if (host.fileType(candidate) !== undefined) return candidate;
  }
  if (path.startsWith('nix/')) return `/__corepkgs__/${path.slice('nix/'.length)}`;
  throw new NixError(
    'throw',
    settings.pureEval
      ? `cannot look up '<${path}>' in pure evaluation mode (use '--impure' to override)`
      : `file '${path}' was not found in the Nix search path (add it using $NIX_PATH or -I)`,
  );
}
