'use strict';
/*
 * Runs from a bundle that is being made, and keeps V8's compiled form of it with all functions that were called.
 * As a program: train.cjs DIRECTORY NAME COMMANDS, the commands being a JSON list of command lines.
 */
const { execFileSync } = require('node:child_process');
const { statSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { setFlagsFromString } = require('node:v8');
const { isMainThread } = require('node:worker_threads');
const { loadFile } = require('../bin/bundle.js');

/** How often a thread's compiled form is kept, in milliseconds: most threads are ended without being told. */
const interval = 5;

/** Loads a file of the bundle, and keeps its compiled form when the process or the thread ends. */
function runFile(directory, file, name = 'rest') {
  return loadFile(directory, file, {
    onScript: (script) => {
      const keep = () => keepLargest(join(directory, `${file}.${name}.cache`), script.createCachedData());
      process.on('exit', () => {
        if (isMainThread) restoreFlags();
        keep();
      });
      if (!isMainThread) setInterval(keep, interval).unref();
    },
  });
}

/**
 * V8 takes a compiled form only under the flags it was made under. An evaluation changes one (`evaluate.ts`) after the
 * executable was loaded, and before its thread is.
 */
function restoreFlags() {
  const options = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
  const [flag] = /--interrupt-budget=\d+/.exec(options) ?? [];
  if (flag !== undefined) setFlagsFromString(flag);
}

/** Threads of one kind are started by many commands; the largest form has the most functions. */
function keepLargest(cache, compiled) {
  const kept = statSync(cache, { throwIfNoEntry: false });
  if (kept === undefined || kept.size < compiled.length) writeFileSync(cache, compiled);
}

async function main([directory, name, commands]) {
  const bundle = runFile(directory, 'larder', name);
  for (const command of JSON.parse(commands)) {
    process.exitCode = undefined;
    process.argv = [process.execPath, join(__dirname, '../bin/larder.js'), ...command];
    await bundle.main(command);
  }
}

module.exports = { runFile };
if (isMainThread) void main(process.argv.slice(2));
