import { writeFile } from 'node:fs/promises';
import { loadConfig } from '@larder/cache-server/config';
import { openIntake } from '@larder/cache-server/intake';
import { AtticDatabase } from '@larder/cache-server/migrate/attic/attic-database';
import {
  type AtticMigration,
  type AtticMigrationOptions,
  migrateAttic,
} from '@larder/cache-server/migrate/attic/migrate-attic';
import { type Foundation, openFoundation } from '@larder/cache-server/start';
import { AtticStorage } from '@larder/deploy/migrate/attic-storage';
import { SecretKey } from '@larder/signing/key';
import { pino } from 'pino';
import { larderEnvironment, larderProgram, TestClient } from '../client/client.js';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import type { Scratch } from '../engines/scratch.js';
import type { Nix } from '../oracle/nix.js';
import { type ProgramResult, tryProgram } from '../oracle/program.js';

/** A path of a store of stock Nix, with its archive. */
export interface NixPath {
  readonly storePath: string;
  readonly references: readonly string[];
  readonly sigs: readonly string[];
  readonly nar: Buffer;
}

/** A closure in a store of stock Nix, references first, each path signed with a builder's key. */
export async function makePaths(
  nix: Nix,
  options: { readonly seed: string; readonly paths: number; readonly bytes: number },
): Promise<{ readonly paths: readonly NixPath[]; readonly builder: string }> {
  const objects = await makeClosure(nix.scratch.join(`trees-${options.seed}`), options);
  const imported = await importClosure(nix, objects);
  const secret = nix.scratch.join('builder-secret');
  const key = SecretKey.generate('builder-1');
  await writeFile(secret, key.format());
  await nix.run('nix', ['store', 'sign', '-k', secret, ...imported]);
  const infos = new Map((await nix.pathInfo(...imported)).map((info) => [info.path, info]));
  const paths = await Promise.all(
    imported.map(async (storePath) => ({
      storePath,
      references: infos.get(storePath)?.references ?? [],
      sigs: infos.get(storePath)?.signatures ?? [],
      nar: await nix.runBytes('nix-store', ['--dump', nix.realPath(storePath)]),
    })),
  );
  return { paths, builder: key.publicKey().format() };
}

export function hashPartOf(storePath: string): string {
  return storePath.slice('/nix/store/'.length, '/nix/store/'.length + 32);
}

export interface MigrateRun {
  readonly toml?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Runs `larder admin migrate …` on the server below `scratch`. */
export async function runMigrate(
  scratch: Scratch,
  args: readonly string[],
  { toml = '', env = {}, signal }: MigrateRun = {},
): Promise<ProgramResult> {
  const config = await writeConfig(scratch, toml);
  return tryProgram(
    process.execPath,
    [larderProgram, 'admin', 'migrate', ...args, '--config', config, '--data', scratch.join('data')],
    {
      env: larderEnvironment({ HOME: scratch.path, ...env }),
      ...(signal === undefined ? {} : { signal }),
    },
  );
}

/** What it prints with `--json`. */
export function parseResults({ stdout }: ProgramResult): Map<string, AtticMigration> {
  const results = JSON.parse(stdout.toString()) as AtticMigration[];
  return new Map(results.map((result) => [result.from, result]));
}

export interface AtticRun extends Partial<AtticMigrationOptions> {
  readonly database: string;
  readonly storage: string;
  readonly toml?: string;
}

/** Migrates what an attic server left, in this process, into the server below `scratch`. */
export async function migrateHere(
  scratch: Scratch,
  { database, storage, toml = '', ...options }: AtticRun,
): Promise<Map<string, AtticMigration>> {
  await using foundation = await openServer(scratch, toml);
  await using intake = openIntake(foundation);
  await using client = TestClient.create();
  await using files = await AtticStorage.open([storage], client.context);
  await using attic = await AtticDatabase.open(database);
  const results = await migrateAttic(
    { foundation, intake },
    { database: attic, files },
    { names: new Map(), upstreams: [], jobs: 2, ...options },
  );
  return new Map(results.map((result) => [result.from, result]));
}

/** The database and storage of the server below `scratch`. */
export async function openServer(scratch: Scratch, toml = ''): Promise<Foundation> {
  const file = await writeConfig(scratch, toml);
  const config = await loadConfig({ file, environment: {}, overrides: { data: scratch.join('data') } });
  return openFoundation(config, pino({ level: 'silent' }));
}

async function writeConfig(scratch: Scratch, toml: string): Promise<string> {
  const file = scratch.join('migrate.toml');
  // A run that was killed is not waited for longer than that.
  await writeFile(file, `[uploads]\nlease = "1 s"\n${toml}`);
  return file;
}
