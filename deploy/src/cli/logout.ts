import { loadSettings } from '@larder/substituter/config';
import type { Command } from 'commander';
import { changeLarderConf } from '../setup/larder-conf.js';
import { removeNetrcEntry } from '../setup/netrc-entry.js';
import { findSetupPlace } from '../setup/setup-files.js';
import { createVerb } from './command.js';
import { addScopeOption, parseServer, type SetupOptions } from './login.js';

export function createCommand(): Command {
  const logout = createVerb('logout', {
    summary:
      "Take a server's token out of the netrc file again. The token stays in force: 'larder token revoke' ends it.",
    examples: [['larder logout https://cache.example.org', 'undoes larder login']],
  }).argument('<server>', 'as it was given to larder login');
  return addScopeOption(logout).action(runLogout);
}

async function runLogout(argument: string, { scope }: SetupOptions): Promise<void> {
  const server = parseServer(argument);
  const place = await findSetupPlace(loadSettings(), scope);
  const { removed, isEmpty } = await removeNetrcEntry(place.netrc, new URL(server).hostname);
  if (isEmpty && place.setsNetrc) await changeLarderConf(place, ({ caches }) => ({ caches }));
  process.stdout.write(
    removed
      ? `logged out of ${server}: its token is no longer in ${place.netrc}\n`
      : `there was no token for ${server} in ${place.netrc}\n`,
  );
}
