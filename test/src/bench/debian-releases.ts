import { mkdir, readdir, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeScratch } from '../engines/scratch.js';
import { runProgram } from '../oracle/program.js';

/** A package as two releases of it unpack. */
export interface Releases {
  readonly name: string;
  readonly old: Release;
  readonly fresh: Release;
}

export interface Release {
  readonly version: string;
  /** The directory with its files. */
  readonly tree: string;
}

/** What is updated often: programs, libraries, interpreters and their modules, a database. */
const packages = [
  'git',
  'openssl',
  'libssl3',
  'curl',
  'libcurl4',
  'perl-base',
  'python3.11-minimal',
  'libpython3.11-stdlib',
  'systemd',
  'postgresql-15',
];

/**
 * The oldest and the newest release that apt offers of each package, unpacked below `directory`; those that it offers
 * one release of are left out. Downloads are kept for the next time.
 */
export async function unpackReleases(directory: string): Promise<readonly Releases[]> {
  const downloads = join(tmpdir(), 'larder-bench-debian');
  for (const each of [downloads, directory]) await mkdir(each, { recursive: true });
  const releases: Releases[] = [];
  for (const name of packages) {
    const versions = await offeredVersions(name);
    const [old, fresh] = [versions[0], versions.at(-1)];
    if (old === undefined || fresh === undefined || old === fresh) continue;
    const unpackOne = async (version: string): Promise<Release> => {
      const tree = join(directory, `${name}-${version.replace(/[^0-9A-Za-z.+-]/g, '_')}`);
      await runProgram('dpkg-deb', ['-x', await download(downloads, name, version), tree], environment);
      return { version, tree };
    };
    releases.push({ name, old: await unpackOne(old), fresh: await unpackOne(fresh) });
  }
  return releases;
}

const environment = { env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' } };

/** The oldest first. */
async function offeredVersions(name: string): Promise<string[]> {
  const table = (await runProgram('apt-cache', ['madison', name], environment)).toString();
  const versions = table.split('\n').flatMap((line) => line.split('|')[1]?.trim() ?? []);
  return [...new Set(versions)].reverse();
}

async function download(directory: string, name: string, version: string): Promise<string> {
  const prefix = `${name}_${version.replaceAll(':', '%3a')}_`;
  const kept = (await readdir(directory)).find((file) => file.startsWith(prefix));
  if (kept !== undefined) return join(directory, kept);
  await using scratch = await makeScratch('apt');
  await runProgram('apt-get', ['download', `${name}=${version}`], { ...environment, cwd: scratch.join('.') });
  const [file = ''] = (await readdir(scratch.join('.'))).filter((each) => each.endsWith('.deb'));
  await rename(scratch.join(file), join(directory, file));
  return join(directory, file);
}
