#!/usr/bin/env node
// `npm test [-- FILTER…]`: sets up what is missing, builds, lints and runs every test. A filter is a part of a
// test file's path (`npm test -- nar-parser`); with filters, the linters are left out.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { provision } from './setup/components.mjs';
import { fail, prepareWorkspace, root, step } from './setup/workspace.mjs';

const rooms = ['signing', 'substituter', 'builder', 'cache-server', 'deploy', 'test'];
const filters = process.argv.slice(2);

prepareWorkspace();
const missing = provision();
if (missing.length > 0 && process.env.CI)
  fail(`CI runs every test, and these are missing: ${missing.join(', ')}.`);
if (filters.length === 0) lint();
process.exitCode = await runTests(testFiles());

function lint() {
  step('biome ci', join(root, 'node_modules/.bin/biome'), [
    'ci',
    '--error-on-warnings',
    `--colors=${process.stdout.isTTY ? 'force' : 'off'}`,
    '.',
  ]);
  step('eslint', process.execPath, [join(root, 'node_modules/eslint/bin/eslint.js'), '.']);
}

/** The emitted test files whose source still exists (`tsc -b` leaves the output of deleted sources behind). */
function testFiles() {
  const files = rooms.flatMap((room) => {
    const dist = join(root, room, 'dist');
    return readdirSync(dist, { recursive: true })
      .filter((file) => file.endsWith('.test.js'))
      .filter((file) => existsSync(join(root, room, 'src', file.replace(/\.js$/, '.ts'))))
      .map((file) => join(dist, file));
  });
  return files.filter((file) => filters.every((filter) => relative(root, file).includes(filter))).sort();
}

/** Runs the files under node:test with one set of engines for all of them; returns the exit code. */
async function runTests(files) {
  if (files.length === 0) fail(`No test file matches ${filters.join(' ')}.`);
  const scratch = mkdtempSync(join(tmpdir(), 'larder-test-'));
  // PostgreSQL runs as another user, who must be able to get to its own directory inside.
  chmodSync(scratch, 0o711);
  const { startSharedEngines } = await import(join(root, 'test/dist/engines/shared.js'));
  // A filtered run starts only what its tests ask for, by themselves.
  const engines = filters.length === 0 ? await startSharedEngines(missing) : undefined;
  try {
    console.log(`▸ node --test (${files.length} files)`);
    const counts = join(scratch, 'counts.json');
    const status = await nodeTest(files, { counts, scratch, engines: engines?.environment });
    return report(counts, status);
  } finally {
    await engines?.[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true, force: true });
  }
}

function nodeTest(files, { counts, scratch, engines }) {
  const args = [
    '--enable-source-maps',
    '--test',
    `--test-concurrency=${Math.max(2, availableParallelism())}`,
    '--test-timeout=1800000',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'test/setup/counts-reporter.mjs')}`,
    `--test-reporter-destination=${counts}`,
    ...files,
  ];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...engines, TMPDIR: scratch, LARDER_TEST_SHARED: scratch },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Prints the slowest files, what was skipped and why, and the closing line that CI reads. */
function report(countsFile, status) {
  if (!existsSync(countsFile)) return status || 1;
  const { passed, failed, skipped, slowest } = JSON.parse(readFileSync(countsFile, 'utf8'));
  console.log(
    `\nSlowest: ${slowest.map(({ file, seconds }) => `${relative(root, file)} ${seconds} s`).join(', ')}`,
  );
  for (const { name, reason } of skipped) console.log(`Skipped: ${name}${reason ? ` (${reason})` : ''}`);
  console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return status || (failed > 0 ? 1 : 0);
}
