import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LarderError } from '@larder/signing/errors';

const run = promisify(execFile);

/** Runs git and gives what it prints, without what is white at the end. @throws `git-missing`, `git-failed` */
export async function runGit(args: readonly string[], directory?: string): Promise<string> {
  try {
    // Without its locks, git does not refresh the index when it only looks: that would count as a change.
    const where = directory === undefined ? [] : ['-C', directory];
    const { stdout } = await run('git', ['--no-optional-locks', ...where, ...args], {
      maxBuffer: 256 * 1024 * 1024,
    });
    return stdout.trim();
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string };
    if (code === 'ENOENT') {
      throw new LarderError(
        'git-missing',
        "fetching from a git repository needs the program 'git', which is not installed",
      );
    }
    throw new LarderError('git-failed', `git ${args[0]} failed: ${(stderr ?? '').trim()}`, { cause: error });
  }
}
