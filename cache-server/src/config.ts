import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parse as parseToml, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { configSchema, type ParsedConfig } from './config-schema.js';
import { ServerError } from './errors.js';

export interface ServerConfig extends ParsedConfig {
  /** Where the server keeps what is its own: an absolute path. */
  readonly data: string;
}

export interface ConfigSources {
  /** A `larder.toml`; without it, only defaults, the environment and `overrides` speak. */
  readonly file?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** What the command line says. */
  readonly overrides?: {
    readonly listen?: string;
    readonly data?: string;
    readonly processes?: number;
  };
}

/** Environment variables and the keys they stand for: so that containers need no file for them, and secrets no file at all. */
const VARIABLES: readonly (readonly [variable: string, key: readonly string[]])[] = [
  ['LARDER_LISTEN', ['listen']],
  ['LARDER_DATA', ['data']],
  ['LARDER_PUBLIC_URL', ['public_url']],
  ['LARDER_ADMIN_TOKEN_FILE', ['admin_token_file']],
  ['LARDER_LOG_LEVEL', ['log', 'level']],
  ['LARDER_DATABASE_URL', ['database', 'url']],
  ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', ['traces', 'endpoint']],
  ['LARDER_S3_ACCESS_KEY_ID', ['storage', 'access_key_id']],
  ['LARDER_S3_SECRET_ACCESS_KEY', ['storage', 'secret_access_key']],
];

/**
 * Reads the server's configuration. The command line wins over the environment, and that over the file.
 * @throws `config-malformed` naming the file (or variable) and the key.
 */
export async function loadConfig(sources: ConfigSources = {}): Promise<ServerConfig> {
  const document = sources.file === undefined ? {} : await readDocument(sources.file);
  const set = new Map<string, string>();
  for (const [variable, key] of VARIABLES) {
    const value = (sources.environment ?? process.env)[variable];
    if (value === undefined || value === '') continue;
    setKey(document, key, value);
    set.set(key.join('.'), `environment variable ${variable}`);
  }
  for (const [key, value] of Object.entries(sources.overrides ?? {})) {
    if (value === undefined) continue;
    document[key] = value;
    set.set(key, `option --${key}`);
  }
  const parsed = configSchema.safeParse(document);
  if (!parsed.success) throw malformed(parsed.error, set, sources.file ?? 'configuration');
  checkPairs(parsed.data, sources.file ?? 'configuration');
  return { ...parsed.data, data: resolve(parsed.data.data) };
}

/** What each of several processes of a server may take of what is the machine's. */
export function shareOf(config: ServerConfig, cores: number): ServerConfig {
  const { processes, limits, uploads, deltas, database } = config;
  if (processes === 1) return config;
  const share = (count: number): number => Math.max(1, Math.ceil(count / processes));
  return {
    ...config,
    limits: { ...limits, bodies: share(limits.bodies) },
    uploads: {
      ...uploads,
      workers: share(uploads.workers ?? cores),
      ...(uploads.memory === undefined ? {} : { memory: share(uploads.memory) }),
    },
    deltas: {
      ...deltas,
      workers: share(deltas.workers ?? cores / 2),
      memory: Math.floor(deltas.memory / processes),
    },
    database:
      database.engine === 'postgresql'
        ? { ...database, connections: Math.max(2, share(database.connections)) }
        : database,
  };
}

type Document = Record<string, unknown>;

async function readDocument(file: string): Promise<Document> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ServerError('config-malformed', `${file}: cannot be read: ${reason}`, { cause: error });
  });
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split('\n')[0] ?? '';
    throw new ServerError('config-malformed', `${file}:${error.line}:${error.column}: ${reason}`, {
      cause: error,
    });
  }
}

function setKey(document: Document, key: readonly string[], value: string): void {
  let table = document;
  for (const name of key.slice(0, -1)) {
    const inner = table[name];
    table = (typeof inner === 'object' && inner !== null ? inner : {}) as Document;
    document[name] = table;
  }
  table[key.at(-1) ?? ''] = value;
}

function malformed(error: z.ZodError, set: ReadonlyMap<string, string>, file: string): ServerError {
  const faults = error.issues.map((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys : undefined;
    const key = [...issue.path, ...(unknown === undefined ? [] : unknown.slice(0, 1))].join('.');
    const what = unknown === undefined ? issue.message : 'is not a key that Larder knows';
    return { key, text: `${set.get(key) ?? file}: ${key}: ${what}` };
  });
  return new ServerError('config-malformed', faults.map((fault) => fault.text).join('\n'), {
    fields: { file, keys: faults.map((fault) => fault.key) },
  });
}

function checkPairs({ storage }: ParsedConfig, file: string): void {
  if (storage.engine !== 's3') return;
  if ((storage.access_key_id === undefined) === (storage.secret_access_key === undefined)) return;
  const absent = storage.access_key_id === undefined ? 'access_key_id' : 'secret_access_key';
  throw new ServerError(
    'config-malformed',
    `${file}: storage.${absent}: is missing; give both halves of the credentials, or neither to use the SDK's own chain`,
    { fields: { file, keys: [`storage.${absent}`] } },
  );
}
