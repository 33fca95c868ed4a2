import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import type { StoreLayout } from '@larder/substituter/local-store/layout';

/** As many links as the kernel follows. */
const mostLinks = 40;

/**
 * The files of a store by the names that programs in it know them by, wherever the store really is: links are
 * followed by those names too. Nothing outside of the store exists here, as in a sandbox.
 */
export class LogicalFiles {
  readonly #layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  /** The path with all links followed, or `undefined` when it leads nowhere. */
  resolve(path: string): string | undefined {
    let resolved = '';
    let links = 0;
    const pending = path.split('/').reverse();
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        resolved = resolved === '' ? '' : dirname(resolved).replace(/^\/$/, '');
        continue;
      }
      const next = `${resolved}/${name}`;
      const status = this.#status(next);
      if (status === undefined) return undefined;
      if (status !== 'above' && status.isSymbolicLink()) {
        if (++links > mostLinks) return undefined;
        const target = readlinkSync(this.#physical(next)!);
        if (target.startsWith('/')) resolved = '';
        pending.push(...target.split('/').reverse());
      } else resolved = next;
    }
    return resolved;
  }

  /** What is at a path, links followed. */
  stat(path: string): Stats | undefined {
    const resolved = this.resolve(path);
    const status = resolved === undefined ? undefined : this.#status(resolved);
    return status === 'above' ? undefined : status;
  }

  /** The names in a directory, sorted, or `undefined` when there is none. */
  list(path: string): string[] | undefined {
    const file = this.#find(path);
    return file !== undefined && this.stat(path)?.isDirectory() ? readdirSync(file).sort() : undefined;
  }

  /** A file's text, or `undefined` when there is none. */
  read(path: string): string | undefined {
    const file = this.#find(path);
    return file !== undefined && this.stat(path)?.isFile() ? readFileSync(file, 'utf8') : undefined;
  }

  /** The real file behind a path, links followed. */
  locate(path: string): string | undefined {
    return this.#find(path);
  }

  #find(path: string): string | undefined {
    const resolved = this.resolve(path);
    return resolved === undefined ? undefined : this.#physical(resolved);
  }

  #status(path: string): Stats | 'above' | undefined {
    const storeDir = this.#layout.storeDir.path;
    if (path === storeDir || storeDir.startsWith(`${path}/`)) return 'above';
    const file = this.#physical(path);
    return file === undefined ? undefined : lstatSync(file, { throwIfNoEntry: false });
  }

  #physical(path: string): string | undefined {
    const { storeDir, realStoreDir } = this.#layout;
    return path.startsWith(`${storeDir.path}/`) ? realStoreDir + path.slice(storeDir.path.length) : undefined;
  }
}
