#!/usr/bin/env node
// Joins the compiled modules of the executable, and of its threads, into one file each in deploy/dist, with V8's compiled
// form of what commands need beside it (see deploy/bin/bundle.js). Does nothing when they are those of the modules there are.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { joinModules, outsideVerbs, threads } from './join-modules.mjs';
import { sessions } from './sessions.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifestFile = join(root, 'deploy/dist/bundle.json');
const rooms = ['signing', 'substituter', 'builder', 'cache-server', 'deploy'];

if (!isCurrent()) await makeBundle();

async function makeBundle() {
  const builds = describeBuilds();
  const name = `deploy/dist/bundle-${makeKey().slice(0, 12)}`;
  const directory = join(root, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await joinModules(root, directory);
  const caches = train(directory);
  for (const thread of threads)
    writeThreadStart(directory, thread, { runner: '../../bin/bundle.js', run: 'loadFile' });
  writeManifest({ key: makeKey(), directory: name, builds, outside: outsideVerbs, caches });
  // What runs from an older one has loaded all of it, but for threads: those are started early.
  const older = readdirSync(join(root, 'deploy/dist')).filter((entry) => entry.startsWith('bundle-'));
  for (const entry of older) {
    if (`deploy/dist/${entry}` !== name)
      rmSync(join(root, 'deploy/dist', entry), { recursive: true, force: true });
  }
}

/** A file that differs in size or time after the compiler ran, for each room. */
function describeBuilds() {
  return rooms.flatMap((room) => {
    const file = `${room}/dist/.tsbuildinfo`;
    const stat = statSync(join(root, file), { throwIfNoEntry: false });
    return stat === undefined ? [] : [[file, stat.size, Math.floor(stat.mtimeMs)]];
  });
}

/** What else a bundle depends on: Node, the modules that are installed, and these programs. */
function makeKey() {
  const hash = createHash('sha256').update(
    `${process.version} ${process.arch} ${JSON.stringify(describeBuilds())}`,
  );
  for (const file of readdirSync(new URL('.', import.meta.url)).sort()) {
    hash.update(readFileSync(new URL(file, import.meta.url)));
  }
  return hash.update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
}

function isCurrent() {
  try {
    const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'));
    return manifest.key === makeKey() && statSync(join(root, manifest.directory)).isDirectory();
  } catch {
    return false;
  }
}

/**
 * Runs commands from the bundle, so that V8's compiled form of it has the functions they call. Gives the form for each verb.
 * What fails here is as good: the functions it called are in.
 */
function train(directory) {
  const scratch = mkdtempSync(join(tmpdir(), 'larder-bundle-'));
  const caches = {};
  try {
    for (const thread of threads)
      writeThreadStart(directory, thread, { runner: '../../bundle/train.cjs', run: 'runFile' });
    for (const { name, verbs, environment, commands } of sessions(root, scratch)) {
      for (const verb of verbs) caches[verb] = name;
      spawnSync(
        process.execPath,
        [join(root, 'deploy/bundle/train.cjs'), directory, name, JSON.stringify(commands)],
        {
          cwd: scratch,
          env: environment,
          stdio: 'ignore',
          timeout: 60_000,
        },
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return caches;
}

/** The module that a thread starts with. */
function writeThreadStart(directory, thread, { runner, run }) {
  writeFileSync(
    join(directory, `start-${thread}.cjs`),
    `require('${runner}').${run}(__dirname, '${thread}');\n`,
  );
}

function writeManifest(manifest) {
  const temporary = `${manifestFile}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify(manifest));
  renameSync(temporary, manifestFile);
}
