'use strict';
/*
 * Most of the time of a short command goes into finding, reading and compiling hundreds of modules. `../bundle/make.mjs` joins
 * them in one file, beside which lies V8's compiled form of what a verb needs, and that is loaded here. Where there is none,
 * or it was made of other modules than there are now, the modules themselves run.
 */
const { readFileSync, statSync } = require('node:fs');
const { join } = require('node:path');
const vm = require('node:vm');

const root = join(__dirname, '../..');

/** Loads the executable for a verb; undefined where its modules must run by themselves. */
function loadBundle(verb) {
  const manifest = findBundle();
  if (manifest === undefined || manifest.outside.includes(verb)) return undefined;
  return loadFile(join(root, manifest.directory), 'larder', { cache: manifest.caches[verb] });
}

/** The description of a bundle that is of the modules that are there. */
function findBundle() {
  try {
    const manifest = JSON.parse(readFileSync(join(root, 'deploy/dist/bundle.json'), 'utf8'));
    return manifest.builds.every(isUnchanged) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether the compiler has not run since. Copies have the time of the original to the millisecond; what is installed comes
 * without the notes of the compiler, and does not change.
 */
function isUnchanged([file, size, modified]) {
  const stat = statSync(join(root, file), { throwIfNoEntry: false });
  return stat === undefined || (stat.size === size && Math.abs(stat.mtimeMs - modified) < 2);
}

/** Runs a file of a bundle, and gives what it exports. `onScript` gets the script before it runs. */
function loadFile(directory, name, { cache = 'rest', onScript } = {}) {
  const filename = join(directory, `${name}.cjs`);
  const cachedData =
    onScript === undefined ? readCache(join(directory, `${name}.${cache}.cache`)) : undefined;
  const script = new vm.Script(readFileSync(filename, 'latin1'), { filename, cachedData });
  onScript?.(script);
  const module = { exports: {} };
  script.runInThisContext()(module, require, { root, directory, importModule });
  return module.exports;
}

/** For modules that are not in the bundle. */
const importModule = (url) => import(url);

/** V8 looks whether it can use it, and else compiles the source. */
function readCache(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

module.exports = { loadBundle, loadFile };
