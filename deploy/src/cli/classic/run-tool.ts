import { LarderError } from '@larder/signing/errors';
import { readCliEnvironment } from '../../config.js';
import { showError } from './messages.js';
import { tools } from './tools.js';

/**
 * Runs one of Nix's tools by its name and gives the exit status: Nix's own, 1 for whatever fails before a build does.
 * Errors go to standard error in Nix's form.
 */
export async function runTool(name: string, args: readonly string[]): Promise<number> {
  // As Nix: what it makes is for everybody to read, whatever the user's own files are.
  process.umask(0o022);
  try {
    const tool = await tools[name]!.load();
    return await tool.run(args, { name, environment: process.env });
  } catch (error) {
    return report(name, error);
  }
}

function report(name: string, error: unknown): number {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') return 1;
  if (error instanceof Error && error.name === 'AbortError') {
    showError('interrupted by the user');
    return 1;
  }
  showError(describe(error));
  if (error instanceof LarderError && error.code === 'usage') {
    process.stderr.write(`Try '${name} --help' for more information.\n`);
  }
  if (readCliEnvironment().debug && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  return 1;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  EEXIST: 'File exists',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
  ELOOP: 'Too many levels of symbolic links',
};

const DOINGS: Readonly<Record<string, string>> = {
  lstat: 'getting status of',
  stat: 'getting status of',
  open: 'opening file',
  scandir: 'opening directory',
  readlink: 'reading symbolic link',
};

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code = '', syscall = '', path } = error as NodeJS.ErrnoException;
  const reason = REASONS[code];
  if (!(error instanceof LarderError) && reason !== undefined) {
    const doing = DOINGS[syscall] ?? syscall;
    return path === undefined ? `${doing}: ${reason}` : `${doing} '${path}': ${reason}`;
  }
  const cause = error.cause instanceof Error ? describe(error.cause) : '';
  return cause === '' || error.message.includes(cause) ? error.message : `${error.message}: ${cause}`;
}
