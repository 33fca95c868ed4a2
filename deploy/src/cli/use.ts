import { readFile } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { PublicKey } from '@larder/signing/key';
import { type CacheDescription, parseCacheDescription } from '@larder/signing/upload';
import { loadSettings } from '@larder/substituter/config';
import { readNetrc } from '@larder/substituter/settings/netrc';
import type { Settings } from '@larder/substituter/settings/settings';
import type { Command } from 'commander';
import { changeLarderConf } from '../setup/larder-conf.js';
import { findSetupPlace } from '../setup/setup-files.js';
import { collect, createVerb } from './command.js';
import { addScopeOption, parseServer, type SetupOptions } from './login.js';
import { serverOfCache } from './oidc-token.js';
import { ServerApi } from './server-api.js';

interface UseOptions extends SetupOptions {
  readonly tokenFile?: string;
  readonly trustedPublicKeys?: string[];
  readonly undo?: true;
}

export function createCommand(): Command {
  const use = createVerb('use', {
    summary:
      'Have Nix (and Larder) fetch from a cache and trust its keys: writes larder.conf beside nix.conf, which includes it. ' +
      'Doing it again takes up new keys.',
    examples: [
      ['larder use https://cache.example.org/main', 'log in first if the cache is private'],
      ['larder use --undo https://cache.example.org/main', 'as it was before'],
    ],
  })
    .argument('<cache>', 'such as https://cache.example.org/main')
    .option('--undo', 'no longer use it')
    .option('--token-file <file>', "a file with a token, rather than the netrc file's")
    .option('--trusted-public-keys <keys>', 'trust these keys, rather than those the server names', collect);
  return addScopeOption(use).action(runUse);
}

async function runUse(argument: string, options: UseOptions): Promise<void> {
  const cache = parseServer(argument);
  const settings = loadSettings();
  const place = await findSetupPlace(settings, options.scope);
  if (options.undo === true) {
    const changed = await changeLarderConf(place, ({ caches, ...conf }) => ({
      ...conf,
      caches: caches.filter(({ url }) => url !== cache),
    }));
    process.stdout.write(
      changed ? `${cache} is no longer used\n` : `${cache} was not in ${place.larderConf}\n`,
    );
    return;
  }
  const publicKeys = options.trustedPublicKeys ?? (await fetchKeys(cache, settings, options));
  for (const key of publicKeys) PublicKey.parse(key);
  const changed = await changeLarderConf(place, (conf) => ({
    ...conf,
    caches: [...conf.caches.filter(({ url }) => url !== cache), { url: cache, publicKeys }],
  }));
  const what = `${cache} with the key${publicKeys.length === 1 ? '' : 's'} ${publicKeys.join(' ')}`;
  process.stdout.write(changed ? `using ${what}: see ${place.larderConf}\n` : `${what} was in use already\n`);
  if (place.scope === 'user' && settings.get('store') !== 'auto')
    process.stderr.write(
      "larder: Nix's daemon takes this from users in 'trusted-users' alone; 'larder doctor' tells\n",
    );
}

async function fetchKeys(cache: string, settings: Settings, options: UseOptions): Promise<readonly string[]> {
  const server = serverOfCache(cache);
  const name = cache.slice(server.length + 1);
  const token =
    options.tokenFile === undefined
      ? readNetrc(settings.get('netrc-file')).find(new URL(cache).hostname)?.password
      : (await readFile(options.tokenFile, 'utf8')).trim();
  const description = await describe(ServerApi.of(server, token), name);
  const storeDir = settings.directories.storeDir.value;
  if (description.storeDir !== storeDir)
    throw new LarderError(
      'setup-failed',
      `${cache} has paths of the store directory ${description.storeDir}, this machine's is ${storeDir}: nothing in it can be used`,
    );
  return description.publicKeys;
}

async function describe(api: ServerApi, name: string): Promise<CacheDescription> {
  try {
    return parseCacheDescription(await api.call('GET', `caches/${encodeURIComponent(name)}`));
  } catch (error) {
    if (!(error instanceof LarderError)) throw error;
    const hint =
      error.code === 'unauthorized'
        ? "; 'larder login' first, if it is private"
        : error.code === 'server-failed'
          ? '; give the keys with --trusted-public-keys, if it is no Larder server'
          : '';
    throw new LarderError(error.code, `${error.message}${hint}`, { cause: error });
  }
}
