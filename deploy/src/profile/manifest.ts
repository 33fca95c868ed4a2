import { LarderError } from '@larder/signing/errors';
import { parseDerivationName } from '../rebuild/package-name.js';

/** Where an element came from, for `upgrade`. */
export interface ElementSource {
  /** A file, or an entry of the search path such as `<nixpkgs>`. */
  readonly file: string;
  readonly attribute: string;
}

/** Something installed in a profile. */
export interface ProfileElement {
  readonly name: string;
  readonly storePaths: readonly string[];
  /** Of two elements that have one file, that with the lower number gives it. */
  readonly priority: number;
  /** Absent for store paths that were installed as they are. */
  readonly source?: ElementSource;
  /** What Nix has written of it, kept for Nix. */
  readonly foreign?: Readonly<Record<string, unknown>>;
}

export const DEFAULT_PRIORITY = 5;

interface ManifestElement {
  readonly active?: boolean;
  readonly storePaths: readonly string[];
  readonly priority?: number;
  readonly larder?: { readonly name: string; readonly source?: ElementSource };
}

/**
 * Reads `manifest.json` of a profile, as `nix profile` writes it in all of its versions.
 * @throws `manifest-unsupported`, `manifest-malformed`
 */
export function parseManifest(text: string, path: string): ProfileElement[] {
  let json: { version?: number; elements?: unknown };
  try {
    json = JSON.parse(text) as typeof json;
  } catch (error) {
    throw new LarderError('manifest-malformed', `${path} is not JSON`, { cause: error });
  }
  if (json.version === undefined || ![1, 2, 3].includes(json.version)) {
    throw new LarderError(
      'manifest-unsupported',
      `${path} has version ${json.version}; known are 1, 2 and 3`,
    );
  }
  // Up to version 2 a list; from 3 on by name.
  const named: [string | undefined, ManifestElement][] = Array.isArray(json.elements)
    ? (json.elements as ManifestElement[]).map((element) => [element.larder?.name, element])
    : Object.entries((json.elements ?? {}) as Record<string, ManifestElement>);
  const names = new Set<string>();
  return named
    .filter(([, element]) => element.active !== false)
    .map(([name, element]) => {
      const { storePaths, priority, larder, ...foreign } = element;
      const found = uniqueName(name ?? nameOf(storePaths), names);
      names.add(found);
      return {
        name: found,
        storePaths,
        priority: priority ?? DEFAULT_PRIORITY,
        source: larder?.source,
        foreign,
      };
    });
}

/** Writes version 2: every Nix with `nix profile` reads it, and passes over what it does not know. */
export function formatManifest(elements: readonly ProfileElement[]): string {
  const listed = elements.map(({ name, storePaths, priority, source, foreign }) => ({
    ...foreign,
    active: true,
    priority,
    storePaths,
    larder: { name, source },
  }));
  return JSON.stringify({ version: 2, elements: listed });
}

/** The name itself, or with a number when it is taken. */
export function uniqueName(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name;
  for (let number = 1; ; number++) if (!taken.has(`${name}-${number}`)) return `${name}-${number}`;
}

export function nameOf(storePaths: readonly string[]): string {
  return parseDerivationName(baseName(storePaths[0] ?? '').slice(33)).name;
}

/** The versions of an element, by its store paths' names. */
export function versionOf({ storePaths }: ProfileElement): string {
  const versions = storePaths.map((path) => parseDerivationName(baseName(path).slice(33)).version);
  return [...new Set(versions.filter((version) => version !== ''))].join(', ');
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
