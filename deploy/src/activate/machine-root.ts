import { lstatSync, readlinkSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';

const MAX_LINKS = 40;

/**
 * The file system that is worked on: the machine's own, or one below a directory (`--root`), whose absolute links
 * mean paths inside it. Paths as the machine will see them are *logical*.
 */
export class MachineRoot {
  /** Where the logical `/` is: `''` for this machine's own. */
  readonly directory: string;

  constructor(directory = '/') {
    this.directory = directory.replace(/\/+$/, '');
  }

  get isMachine(): boolean {
    return this.directory === '';
  }

  /** Where a logical path is on this machine. Links on the way are not followed: see {@link resolve}. */
  physical(logical: string): string {
    return `${this.directory}${logical}`;
  }

  /**
   * The logical path without any symbolic link in it.
   * @throws `file-absent` naming the first part that is not there, `link-loop`
   */
  async resolve(logical: string): Promise<string> {
    const pending = logical.split('/').reverse();
    const resolved: string[] = [];
    for (let links = 0; pending.length > 0; ) {
      const name = pending.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        resolved.pop();
        continue;
      }
      const target = this.#linkTarget(`/${[...resolved, name].join('/')}`, logical);
      if (target === undefined) resolved.push(name);
      else {
        if (++links > MAX_LINKS)
          throw new LarderError('link-loop', `${this.physical(logical)}: too many symbolic links`);
        if (target.startsWith('/')) resolved.length = 0;
        pending.push(...target.split('/').reverse());
      }
    }
    return `/${resolved.join('/')}`;
  }

  /** The same, or `undefined` where something on the way is missing. */
  async tryResolve(logical: string): Promise<string | undefined> {
    try {
      return await this.resolve(logical);
    } catch (error) {
      if (error instanceof LarderError && error.code === 'file-absent') return undefined;
      throw error;
    }
  }

  // Synchronous: each look takes microseconds, and a way through the thread pool many times that.
  #linkTarget(path: string, asked: string): string | undefined {
    try {
      return lstatSync(this.physical(path)).isSymbolicLink() ? readlinkSync(this.physical(path)) : undefined;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
      throw new LarderError(
        'file-absent',
        path === asked
          ? `${this.physical(path)} does not exist`
          : `${this.physical(asked)} leads to ${this.physical(path)}, which does not exist`,
      );
    }
  }
}
