import { writeFile } from 'node:fs/promises';
import type { AtticMigration } from '@larder/cache-server/migrate/attic/migrate-attic';
import { SecretKey } from '@larder/signing/key';
import { larderEnvironment, larderProgram } from '../client/client.js';
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

/** Runs `larder admin migrate …` on the server below `scratch`. */
export async function migrate(
  scratch: Scratch,
  args: readonly string[],
  options: {
    readonly toml?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<ProgramResult> {
  const config = scratch.join('migrate.toml');
  // A run that was killed is not waited for longer than that.
  await writeFile(config, `[uploads]\nlease = "1 s"\n${options.toml ?? ''}`);
  return tryProgram(
    process.execPath,
    [larderProgram, 'admin', 'migrate', ...args, '--config', config, '--data', scratch.join('data')],
    {
      env: larderEnvironment({ HOME: scratch.path, ...options.env }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    },
  );
}

export function parseResults({ stdout }: ProgramResult): Map<string, AtticMigration> {
  const results = JSON.parse(stdout.toString()) as AtticMigration[];
  return new Map(results.map((result) => [result.from, result]));
}
