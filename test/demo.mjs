#!/usr/bin/env node
// `npm run demo [-- --once --short]`: sets up what is missing, builds, plays the demo.
import { join } from 'node:path';
import { provision } from './setup/components.mjs';
import { prepareWorkspace, root } from './setup/workspace.mjs';

prepareWorkspace();
// Without these the demo leaves the part out that needs them.
provision(['sandbox', 'example']);
const { main } = await import(join(root, 'test/dist/demo/demo.js'));
process.exitCode = await main(process.argv.slice(2));
