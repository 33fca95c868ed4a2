import { accessSync, constants, lstatSync, readdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { isWritable } from '@larder/substituter/local-store/layout';
import { usageError } from './messages.js';
import type { ToolSession } from './session.js';

export interface OldGenerationOptions {
  /** `30d`: those that were replaced longer ago than that; all but the present one without it. */
  readonly olderThan?: string;
  readonly dryRun: boolean;
}

/** Deletes old generations of all profiles of the store's state directory. Reference: `removeOldGenerations`. */
export async function deleteOldGenerations(
  session: ToolSession,
  options: OldGenerationOptions,
): Promise<void> {
  const before = options.olderThan === undefined ? undefined : parsePeriod(options.olderThan);
  const visit = (directory: string): void => {
    if (!isReadable(directory)) return;
    // Not ours to change; but what is below may be, such as a user's own profiles.
    const writable = isWritable(directory);
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = `${directory}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (
        writable &&
        entry.isSymbolicLink() &&
        existsAsLink(path) &&
        readlinkSync(path).includes('link')
      ) {
        session.say(`removing old generations of profile ${path}`);
        deleteGenerations(session, path, { before, dryRun: options.dryRun });
      }
    }
  };
  visit(`${session.layout.stateDir}/profiles`);
}

function isReadable(directory: string): boolean {
  try {
    accessSync(directory, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** A generation may have gone with its profile's others meanwhile. */
function existsAsLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The time that lies so many days back, in milliseconds. */
function parsePeriod(text: string): number {
  const days = /^([1-9]\d*)d$/.exec(text)?.[1];
  if (days === undefined)
    throw usageError(`invalid number of days specifier '${text}', expected something like '14d'`);
  return Date.now() - Number(days) * 24 * 3600 * 1000;
}

interface DeleteOptions {
  readonly before: number | undefined;
  readonly dryRun: boolean;
}

function deleteGenerations(session: ToolSession, profile: string, { before, dryRun }: DeleteOptions): void {
  const current = readlinkSync(profile);
  for (const { number, name } of chooseOld(profile, before)) {
    if (name === current) continue;
    session.say(`${dryRun ? 'would remove' : 'removing'} profile version ${number}`);
    if (!dryRun) unlinkSync(`${dirname(profile)}/${name}`);
  }
}

/** The newest generation that was made before the time was still in use then: it stays. */
function chooseOld(profile: string, before: number | undefined): { number: number; name: string }[] {
  const prefix = `${basename(profile)}-`;
  const generations = readdirSync(dirname(profile))
    .flatMap((name) => {
      const number = name.startsWith(prefix)
        ? /^(\d+)-link$/.exec(name.slice(prefix.length))?.[1]
        : undefined;
      return number === undefined ? [] : [{ number: Number(number), name }];
    })
    .sort((a, b) => b.number - a.number);
  if (before === undefined) return generations.reverse();
  const made = ({ name }: { name: string }): number => lstatSync(`${dirname(profile)}/${name}`).mtimeMs;
  const first = generations.findIndex((generation) => made(generation) < before);
  return first < 0 ? [] : generations.slice(first + 1);
}
