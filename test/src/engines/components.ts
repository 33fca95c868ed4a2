import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { isCi, searchPath } from './config.js';

interface Component {
  readonly for: string;
  readonly commands: readonly string[];
  readonly directories?: readonly string[];
  readonly packages: readonly string[];
}

/** The names in `test/components.json`. */
export type ComponentName =
  | 'compiler'
  | 'nix'
  | 'postgresql'
  | 's3'
  | 'nginx'
  | 'compressors'
  | 'load'
  | 'sandbox'
  | 'ssh'
  | 'sudo'
  | 'example'
  | 'machine'
  | 'systemd'
  | 'proxy'
  | 'charts'
  | 'shellcheck'
  | 'browser'
  | 'git'
  | 'mercurial'
  | 'openssl';

/** The part of node:test's context that a skip needs. */
interface SkippableTest {
  skip(reason?: string): void;
}

/**
 * Whether a test may go on with `name`. Where the component is missing, the test is skipped, with what to install
 * as the reason, and this returns false; in CI it throws `component-missing` instead.
 */
export function needsComponent(test: SkippableTest, name: ComponentName): boolean {
  const component = components()[name];
  if (component.commands.every((command) => findCommand(command, component) !== undefined)) return true;
  const reason = `${name} is not installed: apt-get install ${component.packages.join(' ')}`;
  if (isCi()) throw new LarderError('component-missing', reason);
  test.skip(reason);
  return false;
}

/**
 * The path of one of a component's programs.
 * @throws LarderError `component-missing`, naming the Debian packages.
 */
export function componentCommand(name: ComponentName, command: string): string {
  const component = components()[name];
  const path = findCommand(command, component);
  if (path !== undefined) return path;
  throw new LarderError(
    'component-missing',
    `${command} is not installed: apt-get install ${component.packages.join(' ')}`,
  );
}

function components(): Readonly<Record<ComponentName, Component>> {
  const file = new URL('../../components.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as Record<ComponentName, Component>;
}

function findCommand(command: string, { directories = [] }: Component): string | undefined {
  const folders = [...directories.flatMap((folder) => [folder, ...versionedBins(folder)]), ...searchPath()];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

/** Debian keeps PostgreSQL's programs off the PATH, in `<folder>/<version>/bin`; the newest comes first. */
function versionedBins(folder: string): string[] {
  try {
    return readdirSync(folder)
      .sort((left, right) => Number(right) - Number(left))
      .map((version) => join(folder, version, 'bin'));
  } catch {
    return [];
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
