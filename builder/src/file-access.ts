import { type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { NixError } from './eval/errors.js';
import type { FileType } from './eval/host.js';
import { ReadRecorder } from './read-recorder.js';

const toFsPath = (path: string): string | Buffer => {
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) > 0x7f) return Buffer.from(path, 'latin1');
  return path;
};

function typeOfEntry(entry: Pick<Dirent, 'isFile' | 'isDirectory' | 'isSymbolicLink'>): FileType {
  if (entry.isFile()) return 'regular';
  if (entry.isDirectory()) return 'directory';
  return entry.isSymbolicLink() ? 'symlink' : 'unknown';
}

const isAbsent = (error: unknown): boolean => {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
};

const systemMessages: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  ELOOP: 'Too many levels of symbolic links',
  EINVAL: 'Invalid argument',
};

/** An operating system error as the language reports it. */
function systemError(error: unknown, action: string, path: string): Error {
  if (isAbsent(error)) return new NixError('other', `path '${path}' does not exist`);
  const { code = '', message } = error as NodeJS.ErrnoException;
  return new NixError('other', `${action} '${path}': ${systemMessages[code] ?? message}`);
}

/**
 * The files of this machine, read synchronously as an evaluation needs them. What was found is remembered;
 * what was not may appear later, when a build makes it. Paths are bytes, one per char.
 */
export class FileAccess {
  readonly #storeDir: string;
  readonly #realStoreDir: string;

  /** Files of the store `storeDir` are read where they really are. */
  constructor(
    recorder: ReadRecorder = new ReadRecorder(),
    store: { readonly storeDir: string; readonly realStoreDir: string } = { storeDir: '', realStoreDir: '' },
  ) {
    this.recorder = recorder;
    this.#storeDir = `${store.storeDir}/`;
    this.#realStoreDir = `${store.realStoreDir}/`;
  }

  /** Where a path really is: those of a store that was moved are elsewhere. */
  #real(path: string): string {
    const moved = this.#storeDir !== this.#realStoreDir && path.startsWith(this.#storeDir);
    return moved ? this.#realStoreDir + path.slice(this.#storeDir.length) : path;
  }

  #file(path: string): string | Buffer {
    return toFsPath(this.#real(path));
  }

  private readonly types = new Map<string, FileType>();
  private readonly links = new Map<string, string>();
  private readonly recorder: ReadRecorder;
  private readonly absent = new Set<string>();

  fileType(path: string): FileType | undefined {
    const known = this.types.get(path);
    if (known !== undefined) return known;
    try {
      const stat = lstatSync(this.#file(path), { throwIfNoEntry: false });
      if (stat === undefined) return this.noteAbsent(path);
      const type = typeOfEntry(stat);
      this.recorder.noteType(this.#real(path), type);
      this.types.set(path, type);
      return type;
    } catch (error) {
      if (isAbsent(error)) return this.noteAbsent(path);
      throw systemError(error, 'getting status of', path);
    }
  }

  private noteAbsent(path: string): undefined {
    if (this.absent.has(path)) return;
    this.absent.add(path);
    this.recorder.noteType(this.#real(path), undefined);
  }

  readFile(path: string): string {
    this.recorder.noteContents(this.#real(path));
    try {
      return readFileSync(this.#file(path), 'latin1');
    } catch (error) {
      throw systemError(error, 'reading file', path);
    }
  }

  readDirectory(path: string): [string, FileType][] {
    this.recorder.noteContents(this.#real(path));
    try {
      const entries = readdirSync(this.#file(path), { withFileTypes: true, encoding: 'latin1' });
      return entries.map((entry) => [entry.name, typeOfEntry(entry)]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') {
        throw new NixError('other', `'${path}' is not a directory`);
      }
      throw systemError(error, 'reading directory', path);
    }
  }

  readLink(path: string): string {
    let target = this.links.get(path);
    if (target === undefined) {
      try {
        target = readlinkSync(this.#file(path), 'latin1');
      } catch (error) {
        throw systemError(error, 'reading symbolic link', path);
      }
      this.links.set(path, target);
    }
    return target;
  }

  /** Follows symlinks in a path, which need not exist; its last component stays when `keepLast`. */
  resolveSymlinks(path: string, keepLast = false): string {
    const pending = path.split('/').reverse();
    let resolved = '';
    for (let followed = 0; pending.length > 0; ) {
      const part = pending.pop()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        resolved = resolved.slice(0, Math.max(0, resolved.lastIndexOf('/')));
        continue;
      }
      const next = `${resolved}/${part}`;
      const isLast = pending.every((rest) => rest === '');
      if ((isLast && keepLast) || this.fileType(next) !== 'symlink') {
        resolved = next;
        continue;
      }
      if (++followed > 1024) {
        throw new NixError('other', `infinite symlink recursion in path '${path}'`);
      }
      const target = this.readLink(next);
      if (target.startsWith('/')) resolved = '';
      for (const component of target.split('/').reverse()) pending.push(component);
    }
    return resolved === '' ? '/' : resolved;
  }
}
