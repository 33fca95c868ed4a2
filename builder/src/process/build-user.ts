import { closeSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { openLockFile, tryLock } from '@larder/substituter/local-store/file-lock';

/** Who a build runs as, for as long as the build holds it. */
export interface BuildUser {
  readonly uid: number;
  readonly gid: number;
  release(): void;
}

/** Where Nix's automatic build users begin, and how many numbers each takes (`auto-allocate-uids`). */
const firstAutomaticUid = 872_415_232;
const automaticUidStep = 65_536;
const automaticUsers = 1024;

export interface BuildUserOptions {
  readonly stateDir: string;
  /** `build-users-group`: its members are the build users. */
  readonly group: string;
  /** A directory that the user must be able to reach, or else none is given. */
  readonly reaches: string;
  /** Whether to make up users where the group gives none: only a sandbox can do with those. */
  readonly automatic: boolean;
}

/**
 * Takes a user that no other build on this machine has, by Nix's own lock files; `'busy'` when all are taken.
 * Gives `undefined` where builds run as the caller: unless the caller is root.
 * @throws `build-users-missing` when the group has no members
 */
export function takeBuildUser(options: BuildUserOptions): BuildUser | 'busy' | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const group = options.group === '' ? undefined : findGroup(options.group);
  if (group !== undefined) return takeMember(group, options);
  if (!options.automatic || !isReachable(options.reaches) || !canMapUid(firstAutomaticUid)) return undefined;
  return takeAutomatic(options.stateDir);
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

function findGroup(name: string): Group | undefined {
  const line = databaseLines('/etc/group').find((fields) => fields[0] === name);
  if (line === undefined) return undefined;
  return {
    name,
    gid: Number(line[2]),
    members: (line[3] ?? '').split(',').filter((member) => member !== ''),
  };
}

function databaseLines(path: string): string[][] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
}

function takeMember({ name, gid, members }: Group, { stateDir }: BuildUserOptions): BuildUser | 'busy' {
  if (members.length === 0) {
    throw new LarderError('build-users-missing', `the build users group '${name}' has no members`);
  }
  const users = databaseLines('/etc/passwd');
  for (const member of members) {
    const user = users.find((fields) => fields[0] === member);
    if (user === undefined) {
      throw new LarderError(
        'build-users-missing',
        `the user '${member}' in the group '${name}' does not exist`,
      );
    }
    const uid = Number(user[2]);
    const release = tryUserLock(`${stateDir}/userpool`, String(uid));
    if (release !== undefined) return { uid, gid, release };
  }
  return 'busy';
}

function takeAutomatic(stateDir: string): BuildUser | 'busy' {
  for (let slot = 0; slot < automaticUsers; slot++) {
    const release = tryUserLock(`${stateDir}/userpool2`, `slot-${slot}`);
    if (release === undefined) continue;
    const uid = firstAutomaticUid + slot * automaticUidStep;
    return { uid, gid: uid, release };
  }
  return 'busy';
}

/** Locks belong to open files, so builds of one process exclude each other too. */
function tryUserLock(directory: string, name: string): (() => void) | undefined {
  mkdirSync(directory, { recursive: true });
  const fd = openLockFile(`${directory}/${name}`);
  if (tryLock(fd, 'exclusive')) return () => closeSync(fd);
  closeSync(fd);
  return undefined;
}

/** Whether everybody may pass through a directory and all above it. */
function isReachable(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === '/') return true;
  }
}

/** In a container only some numbers are users at all. */
function canMapUid(uid: number): boolean {
  const ranges = readFileSync('/proc/self/uid_map', 'utf8').trim().split('\n');
  return ranges.some((range) => {
    const [first = 0, , count = 0] = range.trim().split(/\s+/).map(Number);
    return uid >= first && uid < first + count;
  });
}
