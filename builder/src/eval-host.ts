import { writeSync } from 'node:fs';
import { toByteText } from './eval/byte-text.js';
import type { FetchedTree, FetchInput, FileType, Host, OutputToRealise, PathToAdd } from './eval/host.js';
import type { EvalStore } from './eval-store.js';
import type { FileAccess } from './file-access.js';

/** Fetches on behalf of an evaluation, which waits. */
export interface EvalFetcher {
  fetchUrl: Host['fetchUrl'];
  fetchTree: Host['fetchTree'];
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

/** The variables and the place a process was started with. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly workingDirectory: string;
}

/** The evaluator's host on this machine: its files, a store, and the terminal. */
export class LocalHost implements Host {
  readonly storeDir: string;
  private readonly files: FileAccess;
  private readonly store: EvalStore;
  private readonly fetcher: EvalFetcher;
  private readonly surroundings: Surroundings;
  private readonly started = Math.floor(Date.now() / 1000);

  constructor(parts: {
    readonly files: FileAccess;
    readonly store: EvalStore;
    readonly fetcher: EvalFetcher;
    readonly surroundings: Surroundings;
  }) {
    this.files = parts.files;
    this.store = parts.store;
    this.fetcher = parts.fetcher;
    this.surroundings = parts.surroundings;
    this.storeDir = parts.store.storeDir.path;
  }

  environment(name: string): string | undefined {
    const value = this.surroundings.environment[name];
    return value === undefined ? undefined : toByteText(value);
  }

  home(): string {
    return toByteText(this.surroundings.home);
  }

  workingDirectory(): string {
    return toByteText(this.surroundings.workingDirectory);
  }

  currentTime(): number {
    return this.started;
  }

  log(text: string): void {
    writeBytes(2, `${text}\n`);
  }

  /** Before something in the store is looked at, what this evaluation added must be there. */
  private settle(path: string): void {
    if (path.startsWith(this.storeDir)) this.store.settle();
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
    return this.store.isValidPath(path);
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
    return this.store.addText(name, contents, references, dryRun);
  }

  addPath(path: PathToAdd): string {
    return this.store.addPath(path);
  }

  ensurePath(path: string): void {
    this.store.ensurePath(path);
  }

  realise(outputs: readonly OutputToRealise[]): readonly string[] {
    return this.store.realise(outputs);
  }

  fetchUrl(request: Parameters<Host['fetchUrl']>[0]): string {
    return this.fetcher.fetchUrl(request);
  }

  fetchTree(input: FetchInput): FetchedTree {
    return this.fetcher.fetchTree(input);
  }
}
