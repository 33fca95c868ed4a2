import { LarderError } from './errors.js';

/** The string every NAR starts with. */
export const NAR_MAGIC = 'nix-archive-1';

/** Nix on macOS appends this and a number to names that differ only in case; it must not be in an archive. */
export const CASE_HACK_SUFFIX = '~nix~case~hack~';

/** Bounds on what an archive may ask of its reader. Sizes are in bytes. */
export interface NarLimits {
  /** Directories inside directories. */
  readonly maxDepth: number;
  readonly maxNameLength: number;
  readonly maxTargetLength: number;
  /** Of all files' contents together. */
  readonly maxContentsSize: number;
}

/** Names and targets as Linux bounds them; depth as a path of `PATH_MAX` could still reach. */
export const DEFAULT_NAR_LIMITS: NarLimits = {
  maxDepth: 1024,
  maxNameLength: 255,
  maxTargetLength: 4095,
  maxContentsSize: Number.MAX_SAFE_INTEGER,
};

/**
 * Names and link targets in an archive are bytes. They travel as byte strings: one character a byte (latin-1), so
 * that they compare as Nix sorts and lose nothing.
 */
export type ByteString = string;

/** A byte string from text, as UTF-8. */
export function toByteString(text: string): ByteString {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** A byte string as text for people: bytes that are no UTF-8 become replacement characters. */
export function fromByteString(bytes: ByteString): string {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A byte string as a path for `node:fs`. */
export function toFsPath(bytes: ByteString): string | Buffer {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1');
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 127) return false;
  return true;
}

/**
 * Why `name` cannot be a directory entry of an archive, or `undefined`. The same rule keeps restoring inside its
 * target: no entry can name its parent, its directory, or a path.
 */
export function entryNameFault(name: ByteString): string | undefined {
  if (name === '') return 'it is empty';
  if (name === '.' || name === '..') return 'it names a directory above';
  if (name.includes('/')) return 'it has a slash in it';
  if (name.includes('\0')) return 'it has a NUL byte in it';
  if (name.includes(CASE_HACK_SUFFIX)) return `it has the case hack suffix ${CASE_HACK_SUFFIX} in it`;
  return undefined;
}

/** Zero bytes that follow `size` bytes, up to a multiple of eight. */
export function paddingOf(size: number): number {
  return (8 - (size % 8)) % 8;
}

export function narMalformed(why: string, offset: number): LarderError<'nar-malformed'> {
  return new LarderError('nar-malformed', `the archive is not a valid NAR: ${why} (at byte ${offset})`, {
    fields: { offset },
  });
}
