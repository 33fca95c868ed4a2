import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { type ByteString, fromByteString, toByteString, toFsPath } from '@larder/signing/nar-format';

/** Something in which two builds of one output differ. */
export interface Difference {
  /** Below the output; empty for the output itself. */
  readonly path: string;
  /** What is different, as the end of a sentence. */
  readonly what: string;
}

/** Files are compared in pieces of so many bytes. */
const pieceSize = 1024 * 1024;

/** Compares two trees with canonical metadata, `mine` against `theirs`, and gives the first `limit` differences. */
export function findDifferences(mine: string, theirs: string, limit: number): Difference[] {
  const found: Difference[] = [];
  const note = (path: ByteString, what: string): boolean =>
    found.push({ path: fromByteString(path), what }) >= limit;
  compare('', { mine: toByteString(mine), theirs: toByteString(theirs), note });
  return found;
}

interface Comparison {
  readonly mine: ByteString;
  readonly theirs: ByteString;
  /** Gives true when enough was found. */
  readonly note: (path: ByteString, what: string) => boolean;
}

/** Gives true when enough was found. */
function compare(path: ByteString, comparison: Comparison): boolean {
  const { mine, theirs, note } = comparison;
  const [a, b] = [toFsPath(mine + path), toFsPath(theirs + path)];
  const [own, other] = [lstatSync(a), lstatSync(b)];
  const [kind, otherKind] = [describe(own), describe(other)];
  if (kind !== otherKind) return note(path, `is ${kind}, and was ${otherKind}`);
  if (own.isDirectory()) return compareDirectories(path, comparison);
  if (own.isSymbolicLink()) {
    const [target, otherTarget] = [readlinkSync(a), readlinkSync(b)];
    return target !== otherTarget && note(path, `points to '${target}', and did to '${otherTarget}'`);
  }
  const offset = firstDifference(a, b);
  if (offset === undefined) return false;
  const sizes = own.size === other.size ? '' : `, and has ${own.size} bytes instead of ${other.size}`;
  return note(path, `differs from byte ${offset} on${sizes}`);
}

function compareDirectories(path: ByteString, comparison: Comparison): boolean {
  const [own, other] = [comparison.mine, comparison.theirs].map(
    (root) => new Set(readdirSync(toFsPath(root + path), 'latin1')),
  ) as [Set<string>, Set<string>];
  for (const name of [...new Set([...own, ...other])].sort()) {
    const below = `${path}/${name}`;
    if (!other.has(name)) {
      if (comparison.note(below, 'is new')) return true;
    } else if (!own.has(name)) {
      if (comparison.note(below, 'is missing')) return true;
    } else if (compare(below, comparison)) return true;
  }
  return false;
}

function describe(status: Stats): string {
  if (status.isDirectory()) return 'a directory';
  if (status.isSymbolicLink()) return 'a link';
  return (status.mode & 0o100) === 0 ? 'a file' : 'an executable file';
}

/** The offset of the first byte in which two files differ; the shorter one's end counts. */
function firstDifference(a: string | Buffer, b: string | Buffer): number | undefined {
  const files = [openSync(a, 'r'), openSync(b, 'r')] as const;
  try {
    const [mine, theirs] = [Buffer.allocUnsafe(pieceSize), Buffer.allocUnsafe(pieceSize)];
    for (let offset = 0; ; ) {
      const [own, other] = [readPiece(files[0], mine), readPiece(files[1], theirs)];
      const common = Math.min(own, other);
      if (mine.compare(theirs, 0, common, 0, common) !== 0) {
        let at = 0;
        while (mine[at] === theirs[at]) at++;
        return offset + at;
      }
      if (own !== other) return offset + common;
      if (own < pieceSize) return undefined;
      offset += own;
    }
  } finally {
    for (const file of files) closeSync(file);
  }
}

function readPiece(file: number, into: Buffer): number {
  let filled = 0;
  for (;;) {
    const count = readSync(file, into, filled, into.length - filled, null);
    filled += count;
    if (count === 0 || filled === into.length) return filled;
  }
}
