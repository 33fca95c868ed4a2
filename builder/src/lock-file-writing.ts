import { execFileSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { fromByteText, toByteText } from './eval/byte-text.js';
import { NixError } from './eval/errors.js';
import type { LockFileToWrite } from './eval/host.js';

/**
 * Writes a flake's lock file, and has git know of it, or commit it.
 *
 * @param tell is given what was done, a message each (bytes)
 * @throws NixError for what git refuses
 */
export function writeLockFile(lock: LockFileToWrite, tell: (message: string) => void): void {
  const { directory, repository, changes, commitMessage } = lock;
  const file = `${directory}/flake.lock`;
  const verb = changes === undefined ? 'creating' : 'updating';
  tell(`warning: ${verb} lock file '${file}'${changes === undefined || changes === '' ? '' : `:${changes}`}`);
  const path = Buffer.from(file, 'latin1');
  const temporary = Buffer.from(`${file}.larder-${process.pid}`, 'latin1');
  writeFileSync(temporary, Buffer.from(lock.text, 'latin1'));
  renameSync(temporary, path);
  if (repository === undefined) {
    if (commitMessage !== undefined)
      tell(`warning: lock file '${file}' is not committed: it is in no git repository`);
    return;
  }
  // What git does not track is no part of the flake.
  git(repository, 'add', '--force', '--intent-to-add', '--', file);
  if (commitMessage === undefined) return;
  git(repository, 'commit', '--quiet', '-m', commitMessage, '--', file);
  tell(`warning: committed new revision '${git(repository, 'rev-parse', 'HEAD').trim()}'`);
}

function git(repository: string, ...args: readonly string[]): string {
  const words = ['-C', repository, ...args].map(fromByteText);
  try {
    return execFileSync('git', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr, stdout, message } = error as { stderr?: string; stdout?: string; message: string };
    const said = [stderr, stdout].map((text) => (text ?? '').trim()).find((text) => text !== '') ?? message;
    throw new NixError(
      'other',
      `git ${args[0]} of the lock file in '${repository}' failed: ${toByteText(said)}`,
    );
  }
}
