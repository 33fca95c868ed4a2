import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { userConfFile } from '@larder/substituter/config';
import type { Settings } from '@larder/substituter/settings/settings';
import { type Finding, failed, ok, warning } from './finding.js';

/** What of the machine's set-up every cache needs, the likeliest fault first. */
export async function examineMachine(settings: Settings): Promise<Finding[]> {
  return [
    substituting(settings),
    signatures(settings),
    ...(await netrcMode(settings)),
    await store(settings),
  ];
}

function substituting(settings: Settings): Finding {
  const substitute = settings.sourced('substitute');
  if (!substitute.value)
    return failed(
      'substitute',
      `substitution is turned off (${substitute.origin})`,
      'remove "substitute = false"',
    );
  const { value, origin } = settings.sourced('substituters');
  return value.length === 0
    ? failed('substituters', `no cache is configured (${origin})`, "'larder use https://…/CACHE' adds one")
    : ok('substituters', `caches: ${value.join(' ')} (${origin})`);
}

function signatures(settings: Settings): Finding {
  const { value, origin } = settings.sourced('require-sigs');
  return value
    ? ok('signatures', 'only signed paths are accepted')
    : warning('signatures', `paths are accepted unsigned (${origin})`, 'remove "require-sigs = false"');
}

async function netrcMode(settings: Settings): Promise<Finding[]> {
  const { value: file, origin } = settings.sourced('netrc-file');
  const found = await stat(file).catch((error: unknown) => error as NodeJS.ErrnoException);
  if (found instanceof Error) {
    if (found.code === 'ENOENT' && origin !== 'default')
      return [warning('netrc', `the netrc file ${file} (${origin}) is not there`, "'larder login' makes it")];
    return [];
  }
  if ((found.mode & 0o077) === 0) return [ok('netrc', `${file} is for its owner alone`)];
  return [warning('netrc', `others can read the tokens in ${file}`, `chmod 600 ${file}`)];
}

/** Who writes the store: this user, or Nix's daemon for them. */
async function store(settings: Settings): Promise<Finding> {
  const { storeDir, stateDir, daemonSocket } = settings.directories;
  if (await may(storeDir.value, constants.W_OK)) return ok('store', `${storeDir.value} can be written`);
  if (!(await may(daemonSocket.value, constants.F_OK))) {
    const isThere = await may(storeDir.value, constants.F_OK);
    return failed(
      'store',
      isThere
        ? `you may not write ${storeDir.value}, and no daemon listens on ${daemonSocket.value}`
        : `there is no ${storeDir.value}`,
      isThere
        ? 'start nix-daemon, or be root'
        : `install Nix, or make it: mkdir -p ${storeDir.value} ${stateDir.value}`,
    );
  }
  return daemon(settings);
}

/** The daemon takes caches and keys from the machine's configuration, and from users it trusts. */
function daemon(settings: Settings): Finding {
  const { origin, value } = settings.sourced('substituters');
  const isOwn = origin.includes(userConfFile().replace(/nix\.conf$/, ''));
  const trusted = (settings.other('trusted-users')?.value ?? 'root').split(' ');
  const { username } = userInfo();
  if (!isOwn || trusted.includes(username) || trusted.includes('*'))
    return ok('permission', "the store is written by Nix's daemon");
  const allowed: readonly string[] = settings.get('trusted-substituters');
  const refused = value.filter((url) => !allowed.includes(url));
  return warning(
    'permission',
    `Nix's daemon ignores caches in a user's own configuration, and you (${username}) are not one of its trusted-users: ${refused.join(' ')}`,
    "'larder use' as root, or have root add you to trusted-users in the machine's nix.conf",
  );
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
