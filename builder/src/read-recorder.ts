import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { FileType } from './eval/host.js';

/** Everything an evaluation looked at and did, from which its result can be given again. */
export interface EvaluationRecord {
  /** Paths whose contents counted, files and directories, with the stamp they had. */
  readonly contents: readonly (readonly [path: string, stamp: string])[];
  /** Paths of which only the type, or the target of a symlink, counted. */
  readonly types: readonly (readonly [path: string, type: string])[];
  readonly environment: readonly (readonly [name: string, value: string | null])[];
  /** Store paths whose validity was asked for. */
  readonly validity: readonly (readonly [storePath: string, valid: boolean])[];
  /** Store paths the evaluation added, which must be there. */
  readonly added: readonly string[];
  /** What it printed on standard output (bytes). */
  readonly output: string;
  /** What it had to say on standard error: lines without their ends, or several of one message (bytes). */
  readonly messages: readonly string[];
}

/** A string that differs when what is at a path does: `absent`, or the file's identity, size and times. */
export function stampOf(path: string | Buffer): string {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return 'absent';
  return `${stat.mode}:${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

/** A path's type, and a symlink's target. */
export function typeStampOf(path: string | Buffer): string {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 'absent';
  if (stat.isSymbolicLink()) return `-> ${readlinkSync(path, 'latin1')}`;
  return stat.isDirectory() ? 'directory' : stat.isFile() ? 'regular' : 'unknown';
}

const fsPath = (path: string): string | Buffer => Buffer.from(path, 'latin1');

/** Notes what an evaluation reads. Paths are bytes, one per char. */
export class ReadRecorder {
  private readonly contents = new Map<string, string>();
  private readonly types = new Map<string, string>();
  private readonly environment = new Map<string, string | null>();
  private readonly validity = new Map<string, boolean>();
  private readonly added = new Set<string>();
  private output = '';
  private readonly messages: string[] = [];
  private repeatable = true;

  /** The contents of a file, or the entries of a directory, were read. */
  noteContents(path: string): void {
    if (!this.contents.has(path)) this.contents.set(path, stampOf(fsPath(path)));
  }

  /** The same of what somebody else read, who took the stamps before that. */
  noteStamps(stamps: readonly (readonly [path: string, stamp: string])[]): void {
    for (const [path, stamp] of stamps) if (!this.contents.has(path)) this.contents.set(path, stamp);
  }

  /** The type at a path was asked for; it is looked at once more only for where a symlink leads. */
  noteType(path: string, type: FileType | undefined): void {
    if (this.types.has(path)) return;
    this.types.set(path, type === 'symlink' ? typeStampOf(fsPath(path)) : (type ?? 'absent'));
  }

  /** A whole tree was read, to be put into the store. */
  noteTree(path: string): void {
    if (this.contents.has(path)) return;
    this.noteContents(path);
    if (!lstatSync(fsPath(path)).isDirectory()) return;
    for (const entry of readdirSync(fsPath(path), { encoding: 'latin1' })) this.noteTree(join(path, entry));
  }

  noteVariable(name: string, value: string | undefined): void {
    this.environment.set(name, value ?? null);
  }

  noteValidity(storePath: string, valid: boolean): void {
    // What this evaluation adds may be valid by then or not: that changes nothing.
    if (!this.added.has(storePath)) this.validity.set(storePath, valid);
  }

  noteAdded(storePath: string): void {
    this.added.add(storePath);
    this.validity.delete(storePath);
  }

  noteOutput(text: string): void {
    this.output += text;
  }

  noteMessage(text: string): void {
    this.messages.push(text);
  }

  /** Something was asked for that differs from one time to the next: the time, the network, a build. */
  noteUnrepeatable(): void {
    this.repeatable = false;
  }

  /** What was recorded; undefined if the result cannot be given again. */
  finish(): EvaluationRecord | undefined {
    if (!this.repeatable) return undefined;
    return {
      contents: [...this.contents],
      types: [...this.types],
      environment: [...this.environment],
      validity: [...this.validity],
      added: [...this.added],
      output: this.output,
      messages: this.messages,
    };
  }
}
