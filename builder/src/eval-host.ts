import { writeSync } from 'node:fs';
import { fromByteText, toByteText } from './eval/byte-text.js';
import { NixError } from './eval/errors.js';
import type {
  FetchedTree,
  FetchInput,
  FileType,
  Host,
  LockFileToWrite,
  OutputToRealise,
  PathToAdd,
} from './eval/host.js';
import type { EvalStore } from './eval-store.js';
import type { FileAccess } from './file-access.js';
import { writeLockFile } from './lock-file-writing.js';
import { formatLogMessage, LOG_LEVEL } from './nix-log.js';
import { ReadRecorder } from './read-recorder.js';

/** Fetches on behalf of an evaluation, which waits. */
export interface EvalFetcher {
  fetchUrl: Host['fetchUrl'];
  fetchTree: Host['fetchTree'];
  fetchClosure: Host['fetchClosure'];
}

/** Writes all of a text (bytes) to a file descriptor, also when it is a pipe that is full. */
export function writeBytes(descriptor: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(descriptor, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** Writes a line (bytes) for the user: for programs to read where all of the log is. */
export function writeMessage(text: string, structured: boolean | undefined): void {
  if (structured !== true) {
    writeBytes(2, `${text}\n`);
    return;
  }
  const level = text.startsWith('warning:') ? LOG_LEVEL.warning : LOG_LEVEL.error;
  writeBytes(2, toByteText(formatLogMessage(level, fromByteText(text))));
}

/** The variables and the place a process was started with. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly workingDirectory: string;
  readonly structuredLog?: boolean;
}

/** The evaluator's host on this machine: its files, a store, and the terminal. */
export class LocalHost implements Host {
  readonly storeDir: string;
  private readonly files: FileAccess;
  private readonly store: EvalStore;
  private readonly fetcher: EvalFetcher;
  private readonly surroundings: Surroundings;
  private readonly recorder: ReadRecorder;
  private access: { readonly allowed: Set<string>; readonly pure: boolean } | undefined;
  /** Work trees whose changes were told of. */
  private readonly dirty = new Set<string>();
  private readonly started = Math.floor(Date.now() / 1000);

  constructor(parts: {
    readonly files: FileAccess;
    readonly store: EvalStore;
    readonly fetcher: EvalFetcher;
    readonly surroundings: Surroundings;
    readonly recorder?: ReadRecorder;
  }) {
    this.recorder = parts.recorder ?? new ReadRecorder();
    this.files = parts.files;
    this.store = parts.store;
    this.fetcher = parts.fetcher;
    this.surroundings = parts.surroundings;
    this.storeDir = parts.store.storeDir.path;
  }

  environment(name: string): string | undefined {
    const value = this.surroundings.environment[name];
    this.recorder.noteVariable(name, value);
    return value === undefined ? undefined : toByteText(value);
  }

  home(): string {
    return toByteText(this.surroundings.home);
  }

  workingDirectory(): string {
    return toByteText(this.surroundings.workingDirectory);
  }

  currentTime(): number {
    this.recorder.noteUnrepeatable();
    return this.started;
  }

  log(text: string): void {
    this.recorder.noteMessage(text);
    writeMessage(text, this.surroundings.structuredLog);
  }

  /**
   * Before something in the store is looked at, what this evaluation added must be there; and a restricted
   * evaluation may look at little else.
   */
  private settle(path: string): void {
    if (path.startsWith(this.storeDir)) this.store.settle();
    if (this.access !== undefined) this.checkAccess(path);
  }

  /** Restricts what can be read to these paths and what is below them; a pure evaluation says so differently. */
  restrict(allowed: readonly string[], pure: boolean): void {
    this.access = { allowed: new Set(allowed.map((path) => path.replace(/\/+$/, ''))), pure };
  }

  /** Lets a restricted evaluation read a path, because it made it or was pointed to it. */
  allow(path: string): void {
    this.access?.allowed.add(path);
  }

  private checkAccess(path: string): void {
    const { allowed, pure } = this.access!;
    for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) if (allowed.has(at)) return;
    // The directories on the way to what is allowed can be passed through.
    for (const each of allowed) if (path === '/' || each.startsWith(`${path}/`)) return;
    const mode = pure ? "pure evaluation mode (use '--impure' to override)" : 'restricted mode';
    throw new NixError('restricted-path', `access to absolute path '${path}' is forbidden in ${mode}`);
  }

  fileType(path: string): FileType | undefined {
    this.settle(path);
    return this.files.fileType(path);
  }

  readFile(path: string): string {
    this.settle(path);
    return this.files.readFile(path);
  }

  readDirectory(path: string): readonly (readonly [string, FileType])[] {
    this.settle(path);
    return this.files.readDirectory(path);
  }

  readLink(path: string): string {
    this.settle(path);
    return this.files.readLink(path);
  }

  resolveSymlinks(path: string, keepLast = false): string {
    this.settle(path);
    return this.files.resolveSymlinks(path, keepLast);
  }

  isValidPath(path: string): boolean {
    const valid = this.store.isValidPath(path);
    this.recorder.noteValidity(path, valid);
    return valid;
  }

  queryReferences(path: string): readonly string[] {
    return this.store.queryReferences(path);
  }

  queryClosure(path: string): readonly string[] {
    return this.store.queryClosure(path);
  }

  readDerivation(path: string): string {
    return this.store.readDerivation(path);
  }

  addText(name: string, contents: string, references: readonly string[], dryRun: boolean): string {
    const path = this.store.addText(name, contents, references, dryRun);
    if (!dryRun) this.recorder.noteAdded(path);
    this.allow(`${this.storeDir}/${path}`);
    return path;
  }

  addPath(path: PathToAdd): string {
    const added = this.store.addPath(path);
    if (!path.path.startsWith(this.storeDir)) this.recorder.noteTree(path.path);
    if (!path.dryRun) this.recorder.noteAdded(added);
    this.allow(`${this.storeDir}/${added}`);
    return added;
  }

  ensurePath(path: string): void {
    this.recorder.noteUnrepeatable();
    this.store.ensurePath(path);
  }

  realise(outputs: readonly OutputToRealise[]): readonly string[] {
    this.recorder.noteUnrepeatable();
    const paths = this.store.realise(outputs);
    for (const path of paths) this.allow(`${this.storeDir}/${path}`);
    return paths;
  }

  fetchUrl(request: Parameters<Host['fetchUrl']>[0]): string {
    this.recorder.noteUnrepeatable();
    const path = this.fetcher.fetchUrl(request);
    this.allow(`${this.storeDir}/${path}`);
    return path;
  }

  fetchClosure(request: Parameters<Host['fetchClosure']>[0]): { readonly contentAddressed: boolean } {
    this.recorder.noteUnrepeatable();
    const fetched = this.fetcher.fetchClosure(request);
    this.allow(`${this.storeDir}/${request.path}`);
    return fetched;
  }

  fetchTree(input: FetchInput): FetchedTree {
    const tree = this.fetcher.fetchTree(input);
    if (tree.sources === undefined) this.recorder.noteUnrepeatable();
    else this.recorder.noteStamps(tree.sources);
    this.recorder.noteAdded(tree.storePath);
    this.warnIfDirty(tree.attrs);
    this.allow(`${this.storeDir}/${tree.storePath}`);
    return tree;
  }

  /** Only a work tree with changes has no revision. */
  private warnIfDirty({ type, url, rev }: FetchInput): void {
    const tree = toByteText(String(url).replace(/^file:\/\//, ''));
    if (type !== 'git' || rev !== undefined || this.dirty.has(tree)) return;
    this.dirty.add(tree);
    this.log(`warning: Git tree '${tree}' is dirty`);
  }

  writeFlakeLock(lock: LockFileToWrite): void {
    // Told, and not noted: who is given this result again has the lock file already.
    writeLockFile(lock, (message) => writeMessage(message, this.surroundings.structuredLog));
  }
}
