import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown } from 'node:fs/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { componentCommand } from './components.js';
import { neutralEnvironment, type PostgresEndpoint, sharedEngines } from './config.js';
import { guard, killByFile, restarting, startGuarded } from './guarded.js';
import { freePort, makeScratch, type Scratch } from './scratch.js';

/** A running PostgreSQL server; disposing of it ends the server. */
export interface PostgresEngine extends PostgresEndpoint, AsyncDisposable {}

/** An empty database of its own on a running server; `url` opens it, disposing of it drops it. */
export interface PostgresDatabase extends AsyncDisposable {
  readonly url: string;
}

const run = promisify(execFile);

/** One that is started again when it was killed, and then has all that it ever confirmed. */
export interface RestartingPostgres extends PostgresEngine {
  /** Kills it without warning. */
  kill(): Promise<void>;
}

/** Starts a PostgreSQL server of its own, with a fresh data directory, that keeps nothing across a crash. */
export async function startPostgres(): Promise<PostgresEngine> {
  return start((scratch) => ({
    // Its "immediate shutdown": does not wait for clients, and saves nothing.
    command: [guard, scratch.path, 'QUIT'],
    settings: ['synchronous_commit=off'],
  }));
}

/** Starts one that comes back, `pause` seconds after it was killed. */
export async function startRestartingPostgres(pause: number): Promise<RestartingPostgres> {
  let pidFile = '';
  const engine = await start((scratch) => {
    pidFile = scratch.join('pid');
    // Confirmed means written to the log, which outlives the process; not the machine, which nobody kills.
    return {
      command: [guard, scratch.path, 'TERM', restarting, pidFile, `${pause}`],
      settings: ['synchronous_commit=on'],
    };
  });
  return { ...engine, kill: () => killByFile(pidFile) };
}

interface Launch {
  readonly command: readonly string[];
  readonly settings: readonly string[];
}

async function start(launch: (scratch: Scratch) => Launch): Promise<PostgresEngine> {
  const scratch = await makeScratch('postgres');
  const user = await unprivileged(scratch);
  const data = scratch.join('data');
  const env = neutralEnvironment(scratch.path);
  const initdb = componentCommand('postgresql', 'initdb');
  const initArgs = ['--auth=trust', '--username=test', '--encoding=UTF8', '--locale=C', '--no-sync', data];
  const [command, ...args] = [...user, initdb, ...initArgs] as [string, ...string[]];
  await run(command, args, { env, cwd: scratch.path });
  const port = await freePort();
  const { command: guarding, settings } = launch(scratch);
  const [guardCommand = '', ...guardArgs] = guarding;
  const all = ['fsync=off', 'full_page_writes=off', 'max_connections=200', ...settings];
  const server = await startGuarded({
    command: guardCommand,
    args: [
      ...guardArgs,
      ...user,
      componentCommand('postgresql', 'postgres'),
      ...['-D', data, '-h', '127.0.0.1', '-p', `${port}`, '-k', scratch.path],
      ...all.flatMap((setting) => ['-c', setting]),
    ],
    env,
    isReady: (output) => output.includes('database system is ready to accept connections'),
  });
  return {
    url: `postgres://test@127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/**
 * Makes an empty database, on the server of the test run or, where there is none, on one started for it:
 * `await using database = await openDatabase()`.
 */
export async function openDatabase(): Promise<PostgresDatabase> {
  const shared = sharedEngines().postgres;
  const own = shared === undefined ? await startPostgres() : undefined;
  const { url } = (shared ?? own) as PostgresEndpoint;
  const database = await createDatabase(url);
  return {
    url: database,
    async [Symbol.asyncDispose]() {
      await administer(url, `DROP DATABASE ${new URL(database).pathname.slice(1)} WITH (FORCE)`);
      await own?.[Symbol.asyncDispose]();
    },
  };
}

/** Makes an empty database on this server; gives its URL. */
export async function createDatabase(server: string): Promise<string> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await administer(server, `CREATE DATABASE ${name}`);
  return `${server}/${name}`;
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${url}/postgres` });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/**
 * PostgreSQL refuses to run as root: gives the scratch directory to the package's own user (or nobody), and returns
 * the command that becomes that user.
 */
async function unprivileged(scratch: Scratch): Promise<readonly string[]> {
  if (process.getuid?.() !== 0) return [];
  const [uid, gid] = await userIds('postgres').catch(() => userIds('nobody'));
  await chown(scratch.path, uid, gid);
  return ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
}

async function userIds(name: string): Promise<readonly [uid: number, gid: number]> {
  const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
  return [Number(uid.stdout), Number(gid.stdout)];
}
