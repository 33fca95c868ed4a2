import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provision } from './components.mjs';

/** The root of the clone. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Makes a fresh clone runnable: Node's version, the native modules' compiler, `npm install`, `tsc -b`, the executable's bundle.
 * Does nothing that is done already. Ends the process with a line that says what to do when a step fails.
 */
export function prepareWorkspace() {
  checkNode();
  if (!modulesAreCurrent()) {
    const missing = provision(['compiler']);
    if (missing.length > 0)
      fail('npm install compiles native modules: install a C++ compiler, make and python3 first.');
    step('npm install', 'npm', ['install', '--no-progress', '--loglevel=error'], {
      // node-gyp compiles with as many processes as this says, by default with one.
      env: { JOBS: 'max', ...process.env },
    });
  }
  step('tsc -b', process.execPath, [join(root, 'node_modules/typescript-7/bin/tsc'), '-b']);
  step('bundle', process.execPath, [join(root, 'deploy/bundle/make.mjs')]);
}

/** Runs one step in the root, its output shown; ends the process when it fails. */
export function step(label, command, args, options = {}) {
  const started = Date.now();
  console.log(`▸ ${label}`);
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...options,
  });
  if (status !== 0) fail(`${label} failed (see above).`);
  console.log(`  done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

export function fail(message) {
  console.error(`\n${message}`);
  process.exit(1);
}

function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20) fail(`Larder needs Node 20 or newer; this is ${process.version} (${process.execPath}).`);
}

/** npm writes the second file at the end of an install that succeeded. */
function modulesAreCurrent() {
  const lock = join(root, 'package-lock.json');
  const installed = join(root, 'node_modules/.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs;
}
