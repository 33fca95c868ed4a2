#!/usr/bin/env node
// `npm run soak [-- --minutes N]`: two replicas under load while they and what they stand on are killed, for ten minutes.
import { join } from 'node:path';
import { provision } from './setup/components.mjs';
import { fail, prepareWorkspace, root } from './setup/workspace.mjs';

prepareWorkspace();
if (provision(['s3', 'postgresql', 'nginx']).length > 0) fail('The soak needs what is named above.');
const { main } = await import(join(root, 'test/dist/soak/main.js'));
process.exitCode = await main(process.argv.slice(2));
