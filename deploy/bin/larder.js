#!/usr/bin/env node
'use strict';
const { basename } = require('node:path');
const { loadBundle } = require('./bundle.js');

const [, program, ...words] = process.argv;
const tool = basename(program);
const verb = words[0] === 'help' ? words[1] : words[0];
const bundle = loadBundle(tool.startsWith('nix') ? tool : verb);
if (bundle === undefined) void import('../dist/cli/main.js');
else void start(bundle.main);

async function start(main) {
  // Nothing is left to happen, and it has not ended: a promise was lost.
  const unsettled = () => {
    process.exitCode = 13;
  };
  process.once('beforeExit', unsettled);
  const status = await main(process.argv.slice(2));
  process.off('beforeExit', unsettled);
  process.exitCode = status;
}
