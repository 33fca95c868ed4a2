import { GUILLEMET_CLOSE, GUILLEMET_OPEN } from './byte-text.js';

/** Where a piece of source came from. `source` is read when a message first needs lines of it. */
export type Origin =
  | { readonly kind: 'file'; readonly path: string; readonly source: () => string | undefined }
  | { readonly kind: 'internal'; readonly path: string; readonly source: () => string | undefined }
  | { readonly kind: 'string'; readonly source: () => string | undefined }
  | { readonly kind: 'stdin'; readonly source: () => string | undefined };

/** A place in a source, one-based line and column (bytes). */
export interface Position {
  readonly origin: Origin;
  readonly line: number;
  readonly column: number;
}

/** A position in any source, as one integer: 0 is "nowhere", else an offset into the table of all sources. */
export type Pos = number;
export const noPos: Pos = 0;

interface Entry {
  readonly base: number;
  readonly origin: Origin;
  lineStarts?: readonly number[] | undefined;
}

const entries: Entry[] = [];
let nextBase = 1;

/** Reserves positions for a source of `length` bytes; a position in it is the result plus a byte offset. */
export function addOrigin(origin: Origin, length: number): number {
  const base = nextBase;
  entries.push({ base, origin });
  nextBase += length + 2;
  return base;
}

function findEntry(pos: Pos): Entry | undefined {
  let low = 0;
  let high = entries.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (entries[middle]!.base <= pos) low = middle;
    else high = middle - 1;
  }
  return entries[low];
}

/** The offsets at which lines start; LF, CR LF and a lone CR each end a line. */
function computeLineStarts(source: string): number[] {
  const starts = [0];
  for (let i = 0; i < source.length; i++) {
    const c = source.charCodeAt(i);
    if (c === 10) starts.push(i + 1);
    else if (c === 13) {
      if (source.charCodeAt(i + 1) === 10) i++;
      starts.push(i + 1);
    }
  }
  return starts;
}

/** The origin of a position without reading its source. */
export function originOf(pos: Pos): Origin | undefined {
  return pos === noPos ? undefined : findEntry(pos)?.origin;
}

/** Line and column of a position; undefined for `noPos`. */
export function resolvePosition(pos: Pos): Position | undefined {
  if (pos === noPos) return undefined;
  const entry = findEntry(pos);
  if (entry === undefined) return undefined;
  entry.lineStarts ??= computeLineStarts(entry.origin.source() ?? '');
  const starts = entry.lineStarts;
  const offset = pos - entry.base;
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return { origin: entry.origin, line: low + 1, column: offset - starts[low]! + 1 };
}

/** The name of an origin as messages print it. */
export function formatOrigin(origin: Origin): string {
  switch (origin.kind) {
    case 'file':
      return origin.path;
    case 'internal':
      return `${GUILLEMET_OPEN}nix-internal${GUILLEMET_CLOSE}/${origin.path}`;
    case 'string':
      return `${GUILLEMET_OPEN}string${GUILLEMET_CLOSE}`;
    case 'stdin':
      return `${GUILLEMET_OPEN}stdin${GUILLEMET_CLOSE}`;
  }
}

/** `file:line:column`, or `«none»:0` for no position, as Nix prints positions in messages. */
export function formatPosition(pos: Pos): string {
  const place = resolvePosition(pos);
  if (place === undefined) return `${GUILLEMET_OPEN}none${GUILLEMET_CLOSE}:0`;
  return `${formatOrigin(place.origin)}:${place.line}:${place.column}`;
}

/** The lines of a source, by the same line ends. */
export function sourceLines(origin: Origin): readonly string[] | undefined {
  return origin.source()?.split(/\r\n|\n|\r/);
}

/** The text between two positions of one source. */
export function sourceBetween(start: Pos, end: Pos): string | undefined {
  const entry = start === noPos ? undefined : findEntry(start);
  return entry?.origin.source()?.slice(start - entry.base, end - entry.base);
}
