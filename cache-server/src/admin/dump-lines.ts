import { ServerError } from '../errors.js';

/** One column of a row, as JSON has it; bytes are `{"base64": …}`. */
export type DumpedValue = string | number | null | { readonly base64: string };

/** The lines of a dump, each one JSON object: a header, then for each table its columns and its rows, then the end. */
export type DumpLine =
  | {
      readonly larder: 'metadata';
      readonly version: 1;
      /** Migrations that made the tables: the reader needs to have all of them. */
      readonly migrations: readonly string[];
      /** Tells, without telling it, which seal key the signing keys in here need. */
      readonly sealKey: string;
    }
  | { readonly table: string; readonly columns: readonly string[] }
  | { readonly row: readonly DumpedValue[] }
  | { readonly end: true; readonly rows: number };

export function packValue(value: unknown): DumpedValue {
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') };
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  throw new TypeError(`a column holds a ${typeof value}`);
}

export function unpackValue(value: DumpedValue): string | number | null | Buffer {
  return typeof value === 'object' && value !== null ? Buffer.from(value.base64, 'base64') : value;
}

/** Splits a stream into lines of JSON. @throws `dump-malformed` naming the line */
export async function* parseDumpLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<DumpLine> {
  const decoder = new TextDecoder();
  let rest = '';
  let number = 0;
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield parseLine(line, ++number);
  }
  if (rest !== '') throw dumpMalformed(`line ${number + 1} is cut off`);
}

function parseLine(line: string, number: number): DumpLine {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as DumpLine;
  } catch {
    // Said below.
  }
  throw dumpMalformed(`line ${number} is not JSON`);
}

export function dumpMalformed(why: string): ServerError {
  return new ServerError('dump-malformed', `this is no whole dump of Larder's metadata: ${why}`);
}
