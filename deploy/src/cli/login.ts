import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { loadSettings } from '@larder/substituter/config';
import { type Command, Option } from 'commander';
import { changeLarderConf } from '../setup/larder-conf.js';
import { addNetrcEntry } from '../setup/netrc-entry.js';
import { findSetupPlace } from '../setup/setup-files.js';
import { createVerb, usageError } from './command.js';
import { fetchOidcToken } from './oidc-token.js';
import { ServerApi } from './server-api.js';

export interface SetupOptions {
  readonly scope?: 'system' | 'user';
}

interface LoginOptions extends SetupOptions {
  readonly tokenFile?: string;
  readonly oidc?: true;
}

/** Adds `--scope`. */
export function addScopeOption(command: Command): Command {
  return command.addOption(
    new Option('--scope <scope>', "whose configuration of Nix: the machine's where you may write it").choices(
      ['system', 'user'],
    ),
  );
}

/** The server of an argument: scheme, host and port, and a path where it is behind one. */
export function parseServer(argument: string): string {
  const url = URL.canParse(argument) ? new URL(argument) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw usageError(`'${argument}' is not the URL of a server, such as https://cache.example.org`);
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

export function createCommand(): Command {
  const login = createVerb('login', {
    summary:
      'Log in to a server: its token goes into the netrc file, which Nix and Larder read. Again replaces it; logout undoes it.',
    examples: [
      ['larder login https://cache.example.org < token', 'the token comes on standard input'],
      ['larder login --oidc https://cache.example.org', "with a CI job's ID token"],
    ],
  })
    .argument('<server>', 'such as https://cache.example.org')
    .option('--token-file <file>', 'a file with the token')
    .option('--oidc', "get a token for this CI job's ID token: GitHub's, or that in LARDER_ID_TOKEN");
  return addScopeOption(login).action(runLogin);
}

async function runLogin(argument: string, options: LoginOptions): Promise<void> {
  const server = parseServer(argument);
  const token = await readToken(server, options);
  // Whether the server knows it: a wrong one would only show later, and look like a cache that is not there.
  const api = ServerApi.of(server, token);
  await api.call('GET', 'caches');
  const place = await findSetupPlace(loadSettings(), options.scope);
  await addNetrcEntry(place.netrc, new URL(server).hostname, token);
  if (place.setsNetrc) await changeLarderConf(place, (conf) => ({ ...conf, netrc: place.netrc }));
  process.stdout.write(`logged in to ${server}: the token is in ${place.netrc}\n`);
}

async function readToken(server: string, { tokenFile, oidc }: LoginOptions): Promise<string> {
  if (oidc === true) return fetchOidcToken(server);
  if (tokenFile === undefined && process.stdin.isTTY)
    process.stderr.write('larder: the token, then Ctrl-D: ');
  const given = tokenFile === undefined ? await text(process.stdin) : await readFile(tokenFile, 'utf8');
  const token = given.trim();
  if (/^\S+$/.test(token)) return token;
  throw usageError(
    token === '' ? 'there is no token: give it on standard input' : 'a token has no spaces in it',
  );
}
