#!/usr/bin/env node
// `npm run nix-tests -- NIX_SOURCE [TEST…] [--stock] [--jobs N] [--timeout SECONDS] [--logs DIR]`: the functional tests
// of a Nix checkout (made for 2.8), with Larder under the names of Nix's older tools in front of the installed Nix.
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { provision } from './setup/components.mjs';
import { fail, prepareWorkspace, root, step } from './setup/workspace.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    stock: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '1' },
    timeout: { type: 'string', default: '300' },
    logs: { type: 'string' },
  },
});
const [source, ...chosen] = positionals;
if (source === undefined || !existsSync(join(source, 'tests/common.sh.in')))
  fail('Name the directory of a Nix checkout, such as that of `git clone --branch 2.8.0 …/NixOS/nix`.');
prepareWorkspace();
if (provision(['nix', 'git', 'mercurial', 'compressors', 'sandbox']).length > 0)
  fail('These tests need what is named above.');

// A short path: sockets lie below it.
const scratch = mkdtempSync(join(tmpdir(), 'nt-'));
const logs = resolve(options.logs ?? join(scratch, 'logs'));
process.exitCode = await main();

async function main() {
  const tests = prepare();
  console.log(`▸ ${tests.length} tests of ${source} with ${options.stock ? 'stock Nix' : 'Larder'}`);
  const results = await runAll(tests);
  const names = (status) => results.filter((result) => result.status === status).map(({ name }) => name);
  for (const status of ['passed', 'skipped', 'failed', 'timed out'])
    if (names(status).length > 0)
      console.log(`${status} (${names(status).length}): ${names(status).join(' ')}`);
  const failed = names('failed').length + names('timed out').length;
  console.log(`${names('passed').length} of ${tests.length} passed, ${names('skipped').length} skipped`);
  if (failed > 0) console.log(`The logs are in ${logs}`);
  if (failed === 0 || options.logs !== undefined) {
    spawnSync('chmod', ['-R', 'u+w', scratch]);
    rmSync(scratch, { recursive: true, force: true });
  }
  return failed > 0 ? 1 : 0;
}

/** Copies the tests, fills in what their build would, makes the links; gives the names of the tests to run. */
function prepare() {
  const directory = join(scratch, 'tests');
  cpSync(join(source, 'tests'), directory, { recursive: true, verbatimSymlinks: true });
  find('jq');
  // A test reads this directory beside its own.
  const beside = 'src/nix-channel';
  if (existsSync(join(source, beside)))
    cpSync(join(source, beside), join(scratch, beside), { recursive: true });
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  mkdirSync(logs, { recursive: true });
  if (!options.stock)
    step('larder links', process.execPath, [join(root, 'deploy/bin/larder.js'), 'links', bin]);
  const coreutils = dirname(find('cat'));
  const found = {
    bash: find('bash'),
    bindir: bin,
    coreutils,
    dot: '',
    sandbox_shell: find('busybox', 'busybox-static'),
    system: process.arch === 'arm64' ? 'aarch64-linux' : 'x86_64-linux',
    PACKAGE_VERSION: readFileSync(join(source, '.version'), 'utf8').trim(),
  };
  for (const file of ['common.sh', 'config.nix', 'ca/config.nix']) {
    const template = readFileSync(join(directory, `${file}.in`), 'utf8');
    writeFileSync(
      join(directory, file),
      template.replace(/@(\w+)@/g, (all, name) => found[name] ?? all),
    );
  }
  const listed = readFileSync(join(directory, 'local.mk'), 'utf8').match(/[\w./-]+\.sh(?= \\|\n)/g);
  return [...new Set(listed)]
    .filter((file) => file !== 'common.sh' && usesTools(directory, file))
    .map((file) => file.slice(0, -'.sh'.length))
    .filter((name) => chosen.length === 0 || chosen.includes(name));
}

function find(program, debianPackage = program) {
  const file = process.env.PATH.split(delimiter)
    .map((folder) => join(folder, program))
    .find(existsSync);
  return file ?? fail(`There is no '${program}' on the PATH. Debian: apt-get install ${debianPackage}`);
}

/** Whether a test calls one of the tools that have a counterpart here, itself or in another test that it runs. */
function usesTools(directory, file, seen = new Set()) {
  const path = join(directory, file);
  if (seen.has(path) || file.endsWith('common.sh') || !existsSync(path)) return false;
  seen.add(path);
  const text = readFileSync(path, 'utf8');
  if (/\bnix-(build|instantiate|store|collect-garbage|hash|prefetch-url)\b/.test(text)) return true;
  const folders = [dirname(file), '.'];
  return [...text.matchAll(/[\w./-]+\.sh\b/g)].some(([name]) =>
    folders.some((folder) => usesTools(directory, join(folder, name), seen)),
  );
}

async function runAll(tests) {
  const results = new Array(tests.length);
  let next = 0;
  const worker = async () => {
    while (next < tests.length) {
      const at = next++;
      const started = Date.now();
      results[at] = { name: tests[at], status: await run(tests[at]) };
      console.log(`${tests[at]}: ${results[at].status} (${((Date.now() - started) / 1000).toFixed(0)} s)`);
    }
  };
  await Promise.all(Array.from({ length: Number(options.jobs) }, worker));
  return results;
}

async function run(name) {
  const log = createWriteStream(join(logs, `${name.replaceAll('/', '-')}.log`));
  await new Promise((done) => log.once('open', done));
  const environment = { ...process.env, TEST_NAME: name, TMPDIR: scratch, NIX_REMOTE: '' };
  const script = join(scratch, 'tests', `${name}.sh`);
  try {
    await bash(join(scratch, 'tests/init.sh'), log, environment);
    const code = await bash(script, log, environment);
    if (code === 'timed out') return code;
    return code === 0 ? 'passed' : code === 99 ? 'skipped' : 'failed';
  } finally {
    log.end();
  }
}

/** Runs a script in a process group of its own, so that nothing of it is left when its time is over. */
function bash(script, log, environment) {
  const child = spawn(find('bash'), ['-e', script], {
    cwd: dirname(script),
    env: environment,
    stdio: ['ignore', log, log],
    detached: true,
  });
  return new Promise((done) => {
    let outcome;
    const timer = setTimeout(() => {
      outcome = 'timed out';
      endGroup(child.pid);
    }, Number(options.timeout) * 1000);
    child.once('exit', (code) => {
      clearTimeout(timer);
      endGroup(child.pid);
      done(outcome ?? code ?? 1);
    });
  });
}

function endGroup(leader) {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
