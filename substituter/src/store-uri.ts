import { resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';

/** Parameters of a store URI (`?compression=zstd&priority=30`), each known to its kind of store. */
export type StoreParameters = ReadonlyMap<string, string>;

/** A parsed store URI: what kind of store, where, and its parameters. */
export type StoreUri =
  | { readonly kind: 'local'; readonly parameters: StoreParameters }
  | { readonly kind: 'daemon'; readonly socket?: string; readonly parameters: StoreParameters }
  | { readonly kind: 'auto'; readonly parameters: StoreParameters }
  | { readonly kind: 'file'; readonly directory: string; readonly parameters: StoreParameters }
  | { readonly kind: 'http'; readonly url: URL; readonly parameters: StoreParameters }
  | {
      readonly kind: 'ssh-ng';
      readonly host: string;
      readonly user?: string;
      readonly port?: number;
      readonly parameters: StoreParameters;
    }
  | {
      readonly kind: 's3';
      readonly bucket: string;
      readonly prefix: string;
      readonly parameters: StoreParameters;
    };

const localParameters = [
  'root',
  'state',
  'log',
  'real',
  'store',
  'require-sigs',
  'priority',
  'want-mass-query',
  'trusted',
  'path-info-cache-size',
  'read-only',
  'system-features',
];
const cacheParameters = [
  'compression',
  'compression-level',
  'parallel-compression',
  'secret-key',
  'secret-keys',
  'write-nar-listing',
  'index-debug-info',
  'local-nar-cache',
  'store',
  'priority',
  'want-mass-query',
  'trusted',
  'path-info-cache-size',
  'system-features',
];
const s3Parameters = [
  ...cacheParameters,
  'endpoint',
  'region',
  'scheme',
  'profile',
  'narinfo-compression',
  'ls-compression',
  'log-compression',
  'multipart-upload',
  'buffer-size',
];

const sshParameters = [
  'ssh-key',
  'base64-ssh-public-host-key',
  'compress',
  'remote-program',
  'remote-store',
  'max-connections',
  'max-connection-age',
  'store',
  'priority',
  'want-mass-query',
  'trusted',
  'path-info-cache-size',
  'system-features',
];

/** The parameters Nix and Larder know for each kind of store. */
const knownParameters: Readonly<Record<StoreUri['kind'], readonly string[]>> = {
  local: localParameters,
  auto: localParameters,
  daemon: localParameters,
  file: cacheParameters,
  http: [...cacheParameters, 'token-file'],
  s3: s3Parameters,
  'ssh-ng': sshParameters,
};

/**
 * Reads a store URI as Nix does: `local`, `auto`, `daemon`, `/some/root` (a chroot store), `file://DIR`,
 * `http(s)://…`, `s3://bucket` and `ssh-ng://[USER@]HOST[:PORT]`, each with `?parameter=value`. Relative directories are taken from `cwd`.
 * Throws `store-uri-invalid` for anything else and for parameters the store would silently ignore.
 */
export function parseStoreUri(text: string, cwd: string = process.cwd()): StoreUri {
  const mark = text.indexOf('?');
  const base = mark < 0 ? text : text.slice(0, mark);
  const parameters = parseParameters(mark < 0 ? '' : text.slice(mark + 1));
  const uri = parseBase(base, parameters, cwd);
  if (uri === undefined) {
    throw new LarderError(
      'store-uri-invalid',
      `"${text}" is not a store. Give local, local?root=DIR, daemon, file://DIR, http://…, https://…, s3://BUCKET or ssh-ng://HOST.`,
      { fields: { uri: text } },
    );
  }
  rejectUnknown(text, uri);
  return uri;
}

function parseBase(base: string, parameters: StoreParameters, cwd: string): StoreUri | undefined {
  if (base === '' || base === 'auto') return { kind: 'auto', parameters };
  if (base === 'local' || base === 'daemon') return { kind: base, parameters };
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(base)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'file':
      return { kind: 'file', directory: resolve(cwd, decodeURIComponent(base.slice(7))), parameters };
    case 'http':
    case 'https':
      return URL.canParse(base) ? { kind: 'http', url: cacheRoot(base), parameters } : undefined;
    case 's3': {
      const [bucket = '', ...prefix] = base.slice(5).split('/');
      if (bucket === '') return undefined;
      return { kind: 's3', bucket, prefix: prefix.filter((part) => part !== '').join('/'), parameters };
    }
    case 'ssh-ng':
      return parseSshAuthority(base.slice(9), parameters);
    case 'local':
    case 'unix': {
      const root = base.slice(scheme.length + 3);
      if (scheme === 'unix') return { kind: 'daemon', ...(root === '' ? {} : { socket: root }), parameters };
      if (root === '') return { kind: 'local', parameters };
      return { kind: 'local', parameters: new Map([['root', resolve(cwd, root)], ...parameters]) };
    }
    case undefined:
      // A bare path is a store under that root, as in `nix --store /mnt`.
      if (!base.includes('/') || base.includes(':')) return undefined;
      return { kind: 'local', parameters: new Map([...parameters, ['root', resolve(cwd, base)]]) };
    default:
      return undefined;
  }
}

/** `[USER@]HOST[:PORT]`, a host in brackets where it has colons. A leading dash would be an option to ssh. */
function parseSshAuthority(text: string, parameters: StoreParameters): StoreUri | undefined {
  const [, user, bracketed, plain, port] =
    /^(?:([^@/-][^@/]*)@)?(?:\[([0-9a-f:.]+(?:%\w+)?)\]|([^@/:[\]-][^@/:[\]]*))(?::(\d{1,5}))?\/?$/i.exec(
      text,
    ) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return undefined;
  return {
    kind: 'ssh-ng',
    host,
    ...(user === undefined ? {} : { user }),
    ...(port === undefined ? {} : { port: Number(port) }),
    parameters,
  };
}

/** The URL that file names are appended to: no query, no fragment, a final slash. */
function cacheRoot(base: string): URL {
  const url = new URL(base);
  url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

function parseParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    // Plus signs stay: Nix's decoder leaves them, and key names may hold them.
    parameters.set(decodeURIComponent(name), decodeURIComponent(equals < 0 ? '' : part.slice(equals + 1)));
  }
  return parameters;
}

function rejectUnknown(text: string, uri: StoreUri): void {
  const known = knownParameters[uri.kind];
  const unknown = [...uri.parameters.keys()].filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new LarderError(
    'store-uri-invalid',
    `The store "${text}" has no parameter ${unknown.map((name) => `"${name}"`).join(', ')}. ` +
      `Known for a ${uri.kind} store: ${known.join(', ')}.`,
    { fields: { uri: text, unknown } },
  );
}

/** A boolean parameter's value. Throws `store-uri-invalid`. */
export function flagParameter(uri: StoreUri, name: string): boolean | undefined {
  const value = uri.parameters.get(name);
  if (value === undefined) return undefined;
  if (value === 'true' || value === '1' || value === 'yes') return true;
  if (value === 'false' || value === '0' || value === 'no') return false;
  throw new LarderError(
    'store-uri-invalid',
    `The store parameter ${name} must be true or false, not "${value}".`,
  );
}

/** A whole-number parameter's value. Throws `store-uri-invalid`. */
export function countParameter(uri: StoreUri, name: string): number | undefined {
  const value = uri.parameters.get(name);
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  throw new LarderError(
    'store-uri-invalid',
    `The store parameter ${name} must be a whole number, not "${value}".`,
  );
}

/** The URI in the form that messages and records use: no parameters, no passwords. */
export function formatStoreUri(uri: StoreUri): string {
  switch (uri.kind) {
    case 'file':
      return `file://${uri.directory}`;
    case 'http': {
      const shown = new URL(uri.url);
      shown.username = '';
      shown.password = '';
      return shown.href.replace(/\/$/, '');
    }
    case 's3':
      return `s3://${uri.bucket}${uri.prefix === '' ? '' : `/${uri.prefix}`}`;
    case 'local': {
      const root = uri.parameters.get('root');
      return root === undefined ? 'local' : `local?root=${root}`;
    }
    case 'ssh-ng': {
      const host = uri.host.includes(':') ? `[${uri.host}]` : uri.host;
      const user = uri.user === undefined ? '' : `${uri.user}@`;
      return `ssh-ng://${user}${host}${uri.port === undefined ? '' : `:${uri.port}`}`;
    }
    case 'auto':
    case 'daemon':
      return uri.kind;
  }
}
