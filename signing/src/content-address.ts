import { formatBase32 } from './base32.js';
import { LarderError } from './errors.js';
import { compressHash, computeHash, type Hash, parseHash } from './hash.js';
import { parseStorePath, type StoreDir, type StorePath } from './store-path.js';

/**
 * How a store object's contents became a hash: `text` (a flat file whose references are part of the path),
 * `flat` (the bytes of one file), `recursive` (the NAR), `git` (a git tree or blob object).
 */
export type ContentAddressMethod = 'text' | 'flat' | 'recursive' | 'git';

/** What a content-addressed path is named by, as the `CA` field of a narinfo carries it. */
export interface ContentAddress {
  readonly method: ContentAddressMethod;
  readonly hash: Hash;
}

/** References that go into a content-addressed path: other paths and whether it refers to itself. */
export interface ContentReferences {
  readonly references?: Iterable<StorePath>;
  readonly self?: boolean;
}

const PREFIXES: Readonly<Record<ContentAddressMethod, string>> = {
  text: 'text:',
  flat: 'fixed:',
  recursive: 'fixed:r:',
  git: 'fixed:git:',
};

/**
 * Parses `text:<hash>`, `fixed:<hash>`, `fixed:r:<hash>` or `fixed:git:<hash>`.
 * @throws `content-address-malformed`
 */
export function parseContentAddress(text: string): ContentAddress {
  const method = (['text', 'git', 'recursive', 'flat'] as const).find((each) =>
    text.startsWith(PREFIXES[each]),
  );
  if (method === undefined) throw malformed(text, "it starts with neither 'text:' nor 'fixed:'");
  try {
    const hash = parseHash(text.slice(PREFIXES[method].length));
    if (method === 'text' && hash.algorithm !== 'sha256')
      throw malformed(text, 'text is addressed by sha256 only');
    return { method, hash };
  } catch (error) {
    if (error instanceof LarderError && error.code === 'hash-malformed') throw malformed(text, error.message);
    throw error;
  }
}

/** The form `parseContentAddress` reads, with the hash in Nix base-32. */
export function formatContentAddress(address: ContentAddress): string {
  return `${PREFIXES[address.method]}${address.hash.format('nix32')}`;
}

/**
 * The path of a store object from its type, the hash of what it stands for, and its name: the first 20 bytes'
 * worth of a folded SHA-256 over `<type>:<hash>:<store dir>:<name>` with the hash in base-16.
 * Format: the Nix manual, "Complete store path calculation".
 */
export function makeStorePath(
  storeDir: StoreDir,
  type: string,
  named: { readonly hash: Hash; readonly name: string },
): StorePath {
  const { hash, name } = named;
  const preimage = `${type}:${hash.format('base16')}:${storeDir.path}:${name}`;
  const digest = compressHash(computeHash('sha256', preimage).bytes, 20);
  return parseStorePath(`${formatBase32(digest)}-${name}`);
}

/** The path of output `output` of the derivation called `name` (without `.drv`), given its hash modulo. */
export function makeOutputPath(
  storeDir: StoreDir,
  output: string,
  derivation: { readonly hash: Hash; readonly name: string },
): StorePath {
  const name = outputPathName(derivation.name, output);
  return makeStorePath(storeDir, `output:${output}`, { hash: derivation.hash, name });
}

/** `name` for the output `out`, `name-<output>` for the others. */
export function outputPathName(name: string, output: string): string {
  return output === 'out' ? name : `${name}-${output}`;
}

/**
 * The path of a content-addressed object called `name`.
 * @throws `content-address-unsupported` for references where the method cannot carry them.
 */
export function makeContentAddressedPath(
  storeDir: StoreDir,
  name: string,
  content: ContentAddress & ContentReferences,
): StorePath {
  const { method, hash } = content;
  if (method === 'text') {
    if (content.self === true) throw unsupported(name, 'text cannot refer to itself');
    return makeStorePath(storeDir, typeWithReferences(storeDir, 'text', content), { hash, name });
  }
  if (method === 'recursive' && hash.algorithm === 'sha256') {
    return makeStorePath(storeDir, typeWithReferences(storeDir, 'source', content), { hash, name });
  }
  if (content.self === true || [...(content.references ?? [])].length > 0) {
    throw unsupported(name, 'only text and recursive sha256 addresses can carry references');
  }
  const ingestion = PREFIXES[method].slice('fixed:'.length);
  const inner = computeHash('sha256', `fixed:out:${ingestion}${hash.format('base16')}:`);
  return makeStorePath(storeDir, 'output:out', { hash: inner, name });
}

/** The path of a text file in the store, such as `builtins.toFile` or a derivation makes; `hash` is its SHA-256. */
export function makeTextPath(
  storeDir: StoreDir,
  name: string,
  text: { readonly hash: Hash; readonly references?: Iterable<StorePath> },
): StorePath {
  return makeContentAddressedPath(storeDir, name, { method: 'text', ...text });
}

function typeWithReferences(storeDir: StoreDir, type: string, content: ContentReferences): string {
  const others = [...(content.references ?? [])].sort().map((path) => `:${storeDir.format(path)}`);
  return `${type}${others.join('')}${content.self === true ? ':self' : ''}`;
}

function malformed(text: string, why: string): LarderError {
  return new LarderError('content-address-malformed', `'${text}' is not a content address: ${why}`, {
    fields: { text },
  });
}

function unsupported(name: string, why: string): LarderError {
  return new LarderError('content-address-unsupported', `no content-addressed path for '${name}': ${why}`, {
    fields: { name },
  });
}
