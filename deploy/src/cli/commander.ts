import { createRequire } from 'node:module';

/*
 * Commander is CommonJS. Imported as a module, all of it is analysed for its exports first, which takes longer than
 * to load it: a tenth of the start of a verb that does little.
 */
const commander = createRequire(import.meta.url)('commander') as typeof import('commander');

export const { Command, CommanderError, Option } = commander;
