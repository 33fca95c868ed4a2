import assert from 'node:assert/strict';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { componentCommand } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import type { Nix, NixPathInfo } from '../oracle/nix.js';
import { runProgram, tryProgram } from '../oracle/program.js';

/**
 * Stock Nix finds the store below `root` sound: contents, database and metadata are in order, and it knows the same of
 * `paths` (full store paths) as the store they came from.
 */
export async function assertStoreIsSound(nix: Nix, root: string, paths: readonly string[]): Promise<void> {
  await assertNixVerifies(nix, root);
  const ours = await pathInfo(nix, root, paths);
  const theirs = await nix.pathInfo(...derivationFlag(paths), ...paths);
  assert.deepEqual(ours.map(comparable), theirs.map(comparable));
  for (const path of paths) {
    await assertCanonical(Buffer.from(path.replace('/nix/store', join(root, 'nix/store'))));
  }
}

/** Stock Nix finds every valid path of the store below `root` to be what its database says. */
export async function assertNixVerifies(nix: Nix, root: string): Promise<void> {
  const verified = await tryProgram(
    componentCommand('nix', 'nix-store'),
    ['--store', root, '--verify', '--check-contents'],
    { env: environment(nix) },
  );
  assert.equal(verified.status, 0, verified.stderr);
  assert.doesNotMatch(verified.stderr, /modified|disappeared|error/);
}

/** What Nix says of paths in the store below `root`. */
export async function pathInfo(nix: Nix, root: string, paths: readonly string[]): Promise<NixPathInfo[]> {
  const text = await runProgram(
    componentCommand('nix', 'nix'),
    ['path-info', '--json', '--store', root, ...derivationFlag(paths), ...paths],
    { env: environment(nix) },
  );
  return JSON.parse(text.toString()) as NixPathInfo[];
}

/** Without it Nix takes a derivation for the paths that it builds. */
function derivationFlag(paths: readonly string[]): string[] {
  return paths.some((path) => path.endsWith('.drv')) ? ['--derivation'] : [];
}

/** One answer of `nix-store --query …` on the store below `root`, sorted. */
export async function query(nix: Nix, root: string, args: readonly string[]): Promise<string[]> {
  const command = componentCommand('nix', 'nix-store');
  const text = await runProgram(command, ['--store', root, '--query', ...args], { env: environment(nix) });
  return text
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}

function environment(nix: Nix): Record<string, string> {
  return {
    ...neutralEnvironment(nix.scratch.join('home')),
    NIX_CONF_DIR: nix.scratch.join('conf'),
    XDG_CACHE_HOME: nix.scratch.join('cache'),
  };
}

/** Registration times differ, and only one of the stores built or added the path itself. */
function comparable(info: NixPathInfo): unknown {
  const { path, narHash, narSize, references, deriver, ca } = info;
  return { path, narHash, narSize, references: [...references].sort(), deriver, ca };
}

/** Files of a store are of one second after the epoch, and nobody may write them. */
async function assertCanonical(path: Buffer): Promise<void> {
  const status = await lstat(path);
  assert.equal(status.mtimeMs, 1000, `${path}`);
  if (!status.isSymbolicLink()) assert.ok([0o444, 0o555].includes(status.mode & 0o7777), `${path}`);
  if (!status.isDirectory()) return;
  assert.equal(status.mode & 0o7777, 0o555, `${path}`);
  for (const name of await readdir(path, { encoding: 'buffer' })) {
    await assertCanonical(Buffer.concat([path, Buffer.from('/'), name]));
  }
}
