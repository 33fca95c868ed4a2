import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { normalize } from 'node:path';
import { splitWords } from './daemon/ssh-target.js';
import { type Assignment, parseNixConf, readNixConf } from './settings/nix-conf.js';
import { type NixDirectories, Settings, type Sourced } from './settings/settings.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The settings in force, found as Nix finds them: the system's `nix.conf`, then the user's files (least
 * important first), then `NIX_CONFIG`, then `overrides` (the command line). This is the only place of the
 * package where environment variables are read. Throws `config-invalid`.
 */
export function loadSettings(
  environment: Environment = process.env,
  overrides: readonly Assignment[] = [],
): Settings {
  const settings = new Settings(findDirectories(environment));
  for (const [variable, name] of environmentSettings) {
    const value = environment[variable];
    if (value !== undefined) settings.assign({ name, value, origin: `environment ${variable}` });
  }
  const files = [
    `${settings.directories.confDir.value}/nix.conf`,
    ...userConfFiles(environment).reverse(), // listed most important first
  ];
  for (const file of files) for (const assignment of readNixConf(file)) settings.assign(assignment);
  for (const assignment of parseNixConf(environment.NIX_CONFIG ?? '', 'NIX_CONFIG'))
    settings.assign(assignment);
  for (const assignment of overrides) settings.assign(assignment);
  return settings;
}

/** Environment variables that give the default of a setting, the least important first. */
const environmentSettings = [
  ['NIX_REMOTE', 'store'],
  ['SSL_CERT_FILE', 'ssl-cert-file'],
  ['NIX_SSL_CERT_FILE', 'ssl-cert-file'],
] as const;

function findDirectories(environment: Environment): NixDirectories {
  const find = (fallback: string, ...variables: string[]): Sourced<string> => {
    for (const variable of variables) {
      const value = environment[variable];
      if (value !== undefined && value !== '') {
        return { value: withoutTrailingSlash(normalize(value)), origin: `environment ${variable}` };
      }
    }
    return { value: fallback, origin: 'default' };
  };
  const stateDir = find('/nix/var/nix', 'NIX_STATE_DIR');
  const cacheHome = find(`${homeDirectory(environment)}/.cache`, 'XDG_CACHE_HOME');
  return {
    storeDir: find('/nix/store', 'NIX_STORE_DIR', 'NIX_STORE'),
    stateDir,
    logDir: find('/nix/var/log/nix', 'NIX_LOG_DIR'),
    confDir: find('/etc/nix', 'NIX_CONF_DIR'),
    daemonSocket: find(`${stateDir.value}/daemon-socket/socket`, 'NIX_DAEMON_SOCKET_PATH'),
    cacheDir: { value: `${cacheHome.value}/larder`, origin: cacheHome.origin },
    narInfoCache: { value: `${cacheHome.value}/nix/binary-cache-v6.sqlite`, origin: cacheHome.origin },
  };
}

/** The user's own configuration file: the most important one. */
export function userConfFile(environment: Environment = process.env): string {
  return userConfFiles(environment)[0] ?? `${homeDirectory(environment)}/.config/nix/nix.conf`;
}

/** The user's configuration files, the most important first. */
export function userConfFiles(environment: Environment): string[] {
  const explicit = environment.NIX_USER_CONF_FILES;
  if (explicit !== undefined) return explicit.split(':').filter((path) => path !== '');
  const home = environment.XDG_CONFIG_HOME ?? `${homeDirectory(environment)}/.config`;
  const shared = (environment.XDG_CONFIG_DIRS ?? '/etc/xdg').split(':').filter((path) => path !== '');
  return [home, ...shared].map((directory) => `${directory}/nix/nix.conf`);
}

function homeDirectory(environment: Environment): string {
  return environment.HOME ?? (environment === process.env ? homedir() : userInfo().homedir);
}

function withoutTrailingSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Arguments for ssh from `NIX_SSHOPTS`. */
export function readSshOptions(environment: Environment = process.env): string[] {
  return splitWords(environment.NIX_SSHOPTS ?? '');
}

/**
 * The file with the trust policy in force: `LARDER_TRUST_POLICY`, else the user's, else the system's; `undefined`
 * without any. An empty variable turns policies off.
 */
export function findTrustPolicyFile(environment: Environment = process.env): string | undefined {
  const explicit = environment.LARDER_TRUST_POLICY;
  if (explicit !== undefined) return explicit === '' ? undefined : explicit;
  const home = environment.XDG_CONFIG_HOME ?? `${homeDirectory(environment)}/.config`;
  return [`${home}/larder/trust.toml`, '/etc/larder/trust.toml'].find((file) => existsSync(file));
}
