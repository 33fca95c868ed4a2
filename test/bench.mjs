#!/usr/bin/env node
// `npm run bench [-- serve|copy|push|build…] [--runs N]`: sets up what is missing, builds, measures.
import { join } from 'node:path';
import { provision } from './setup/components.mjs';
import { fail, prepareWorkspace, root } from './setup/workspace.mjs';

prepareWorkspace();
if (provision(['nix', 'nginx', 'load', 'compressors', 'sandbox', 'example']).length > 0)
  fail('The benchmarks need what is named above.');
const { main } = await import(join(root, 'test/dist/bench/bench.js'));
process.exitCode = await main(process.argv.slice(2));
