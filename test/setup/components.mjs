import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The programs beside Node that tests, demo and benchmarks run, and the Debian packages they come in.
 * The list itself is `components.json`, which the typed test code reads too.
 */
const components = JSON.parse(readFileSync(new URL('../components.json', import.meta.url), 'utf8'));

/** The names of the components that this machine lacks, of those asked for (default: all). */
export function missingComponents(names = Object.keys(components)) {
  return names.filter((name) => !isInstalled(components[name]));
}

/**
 * Installs the missing ones with apt-get where that is allowed (root on a Debian), else says on stderr what to install.
 * Returns the names still missing.
 */
export function provision(names) {
  const missing = missingComponents(names);
  if (missing.length === 0) return [];
  const packages = missing.flatMap((name) => components[name].packages);
  if (!mayInstall()) {
    for (const name of missing) {
      console.error(
        `missing: ${name}, for ${components[name].for}. Debian: apt-get install ${components[name].packages.join(' ')}`,
      );
    }
    return missing;
  }
  console.log(`Installing ${packages.join(' ')} (apt-get)`);
  const install = ['install', '--yes', '--no-install-recommends', ...packages];
  // The package lists may be absent or so old that their files are gone: refresh and try once more.
  if (!aptGet(install, { quiet: true })) {
    aptGet(['update'], { quiet: true });
    aptGet(install, { quiet: false });
  }
  return missingComponents(missing);
}

function isInstalled({ commands, directories = [] }) {
  const path = (process.env.PATH ?? '').split(delimiter);
  const folders = [...path, ...directories.flatMap((directory) => [directory, ...versionedBins(directory)])];
  return commands.every((command) => folders.some((folder) => isExecutable(join(folder, command))));
}

/** Debian keeps PostgreSQL's programs off the PATH, in `<directory>/<version>/bin`. */
function versionedBins(directory) {
  try {
    return readdirSync(directory).map((version) => join(directory, version, 'bin'));
  } catch {
    return [];
  }
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function mayInstall() {
  return process.getuid?.() === 0 && isExecutable('/usr/bin/apt-get');
}

function aptGet(args, { quiet }) {
  const result = spawnSync('apt-get', ['-qq', '-o', 'Dpkg::Use-Pty=0', '-o', 'Acquire::Retries=3', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', quiet ? 'ignore' : 'inherit', quiet ? 'ignore' : 'inherit'],
  });
  return result.status === 0;
}
