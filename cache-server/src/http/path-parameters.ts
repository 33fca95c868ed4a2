/** A parameter in the paths of routes. */
export interface PathParameter {
  /** As the documentation calls it. */
  readonly name: string;
  readonly what: string;
  /** A value of the right form, of something that is not there. */
  readonly example: string;
}

const HASH_PART = '0c0l4gbkwjxdmy0m3sdh7r0c21yqgkbq';
const FILE_HASH = '0c5b8vw40dy178xlpddw65q9gf1h2186jcc3p4swinwggbllv8mk';

/** The form of a hash part, and of other hashes in Nix's base-32. */
export const NIX32 = '[0-9abcdfghijklmnpqrsvwxyz]';

const output = { name: 'output', what: 'The name of an output', example: 'out' };

/**
 * Every parameter that stands in a route's path, as `<name>` or, where the route's own pattern demands an ending,
 * `<name>.<ending>`. Tests put the examples in their place.
 */
const parameters: Readonly<Record<string, PathParameter>> = {
  cache: { name: 'cache', what: 'The name of a cache', example: 'main' },
  file: { name: 'file', what: 'A file below `nar/`, as a narinfo names it', example: `${FILE_HASH}.nar.zst` },
  'file.narinfo': { name: 'hash', what: 'The hash part of a store path', example: HASH_PART },
  'file.ls': { name: 'hash', what: 'The hash part of a store path', example: HASH_PART },
  'file.doi': { name: 'id', what: '`sha256:<hash>!<output>`', example: `sha256:${'0'.repeat(64)}!out` },
  'output.doi': output,
  derivation: {
    name: 'derivation',
    what: 'The base name of a derivation',
    example: `${HASH_PART}-example.drv`,
  },
  buildId: { name: 'buildId', what: 'A GNU build id, 40 hexadecimal digits', example: 'a'.repeat(40) },
  narHash: {
    name: 'narHash',
    what: 'The SHA-256 of a NAR, base-32, without a prefix',
    example: FILE_HASH,
  },
  base: {
    name: 'base',
    what: 'The SHA-256 of the older NAR, base-32, without a prefix',
    example: FILE_HASH,
  },
  'file.zst': {
    name: 'narHash',
    what: 'The SHA-256 of the NAR, base-32, without a prefix',
    example: FILE_HASH,
  },
  key: { name: 'key', what: 'The name of a signing key', example: 'main-1' },
  id: { name: 'id', what: 'A number, as the list has it', example: '999999999' },
  hash: { name: 'hash', what: 'The hash part of a store path', example: HASH_PART },
  path: { name: 'path', what: 'A path below the store path', example: 'bin/example' },
  pin: { name: 'pin', what: 'The name of a pin', example: 'release' },
  storePath: { name: 'storePath', what: 'The base name of a store path', example: `${HASH_PART}-example` },
  asset: { name: 'asset', what: 'A file of the page', example: 'swagger-ui.css' },
};

/** A path of a route, taken apart: literal text and parameters. */
export type PathPiece = string | (PathParameter & { readonly ending: string });

const PARAMETER = /:(\w+)(?:\{((?:[^{}]|\{[^{}]*\})*)\})?/g;

/** @throws when a parameter is not described above */
export function readRoutePath(path: string): PathPiece[] {
  const pieces: PathPiece[] = [];
  let at = 0;
  for (const match of path.matchAll(PARAMETER)) {
    const [text, name = '', pattern = ''] = match;
    const ending = /\\\.([a-z]+)$/.exec(pattern)?.[1];
    const parameter = parameters[ending === undefined ? name : `${name}.${ending}`];
    if (parameter === undefined)
      throw new Error(`the parameter ${text} of ${path} is not described in path-parameters.ts`);
    pieces.push(path.slice(at, match.index), {
      ...parameter,
      ending: ending === undefined ? '' : `.${ending}`,
    });
    at = match.index + text.length;
  }
  return [...pieces, path.slice(at)].filter((piece) => piece !== '');
}

/** `/:cache/nar/:file` as OpenAPI has it: `/{cache}/nar/{file}`. */
export function templateOf(path: string): string {
  return readRoutePath(path)
    .map((piece) => (typeof piece === 'string' ? piece : `{${piece.name}}${piece.ending}`))
    .join('');
}

/** A path that the route takes, with other values than the examples where `values` has them. */
export function examplePath(path: string, values: Readonly<Record<string, string>> = {}): string {
  return readRoutePath(path)
    .map((piece) =>
      typeof piece === 'string' ? piece : `${values[piece.name] ?? piece.example}${piece.ending}`,
    )
    .join('');
}
