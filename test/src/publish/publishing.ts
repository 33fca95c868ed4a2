// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { prelude } from '../builder/derivation-kinds.js';
import { larderExecutable } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { type ProgramResult, tryProgram } from '../oracle/program.js';

/** A store of stock Nix that builds in a sandbox. */
export async function createStore(settings: Readonly<Record<string, string>> = {}): Promise<Nix> {
  const store = await Nix.create({
    settings: { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr', ...settings },
  });
  await chmod(store.scratch.path, 0o755);
  return store;
}

/** A derivation whose build says something, and one below it; `mark` makes them new. */
export const expression = (mark: string): string => `let ${prelude}
  below = sh "echo building ${mark}; echo ${mark} > $out" { name = "below-${mark}"; };
  in sh "echo \${below} > $out" { name = "top-${mark}"; }`;

/** Runs `larder` beside a store of Nix's, in its environment. */
export function larderAt(
  store: Nix,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  return tryProgram(process.execPath, [larderExecutable, ...args], {
    env: { ...store.environment, LARDER_QUEUE: queueFile(store), ...environment },
  });
}

export function queueFile(store: Nix): string {
  return store.scratch.join('queue/push.sqlite');
}

/** The `--store` of a store that stock Nix made. */
export function storeUri(store: Nix): string {
  return `local?root=${store.root}`;
}

/** The program that nix.conf names as `post-build-hook`. */
export async function writeHook(store: Nix, args: readonly string[]): Promise<string> {
  const file = store.scratch.join('hook');
  const command = [process.execPath, larderExecutable, 'post-build-hook', ...args];
  const text = `#!/bin/sh\nexport LARDER_QUEUE=${queueFile(store)}\nexec ${command.map((word) => `'${word}'`).join(' ')}\n`;
  await writeFile(file, text, { mode: 0o755 });
  return file;
}

/** The file of a path's narinfo in a cache in a directory. */
export function narInfoFile(directory: string, path: string): string {
  return `${directory}/${path.slice('/nix/store/'.length, '/nix/store/'.length + 32)}.narinfo`;
}

/** Waits until something is so, for as long as a loaded machine may take. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries++) {
    assert.ok(tries < 1200, `it never came about that ${what}`);
    await sleep(50);
  }
}

export function isPublished(directory: string, path: string): boolean {
  return existsSync(narInfoFile(directory, path));
}
