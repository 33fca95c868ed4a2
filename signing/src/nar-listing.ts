import { LarderError } from './errors.js';
import { type ByteString, entryNameFault, fromByteString, toByteString } from './nar-format.js';
import { type NarFileHeader, NarParser, type NarVisitor } from './nar-parser.js';

/** A file in a listing. Sizes and offsets are in bytes of the uncompressed archive. */
export interface ListedFile {
  readonly type: 'regular';
  readonly size: number;
  readonly executable?: true;
  /** Where the contents start; absent for 0, which no real file has. */
  readonly narOffset?: number;
}

export interface ListedDirectory {
  readonly type: 'directory';
  /** By name, sorted by bytes. */
  readonly entries: Readonly<Record<string, NarListing>>;
}

export interface ListedSymlink {
  readonly type: 'symlink';
  readonly target: string;
}

/** The tree of an archive, as a `.ls` file describes it. */
export type NarListing = ListedFile | ListedDirectory | ListedSymlink;

/** Makes the listing of the archive it visits. */
export class NarLister implements NarVisitor {
  readonly #open: Record<string, NarListing>[] = [];
  #root: NarListing | undefined;

  enterDirectory(name: ByteString): void {
    // Without a prototype: a file may well be called '__proto__'.
    const entries = Object.create(null) as Record<string, NarListing>;
    this.#add(name, { type: 'directory', entries });
    this.#open.push(entries);
  }

  leaveDirectory(): void {
    this.#open.pop();
  }

  beginFile(name: ByteString, { executable, size, offset }: NarFileHeader): void {
    this.#add(name, { type: 'regular', size, ...(executable ? { executable } : {}), narOffset: offset });
  }

  contents(): void {}

  endFile(): void {}

  symlink(name: ByteString, target: ByteString): void {
    this.#add(name, { type: 'symlink', target: fromByteString(target) });
  }

  /** The listing, once the archive is complete. */
  listing(): NarListing {
    if (this.#root === undefined)
      throw new LarderError('nar-malformed', 'no archive was read, there is nothing to list');
    return this.#root;
  }

  #add(name: ByteString, node: NarListing): void {
    const parent = this.#open.at(-1);
    if (parent === undefined) this.#root = node;
    else parent[fromByteString(name)] = node;
  }
}

/** Lists an archive in one pass, without its contents. @throws `nar-malformed` */
export async function readNarListing(source: AsyncIterable<Uint8Array>): Promise<NarListing> {
  const lister = new NarLister();
  const parser = new NarParser(lister);
  for await (const chunk of source) parser.write(chunk);
  parser.end();
  return lister.listing();
}

/** Writes a `.ls` file, version 1. */
export function formatNarListing(root: NarListing): string {
  return JSON.stringify({ root, version: 1 });
}

/**
 * Parses a `.ls` file.
 * @throws `listing-malformed` naming the node.
 */
export function parseNarListing(text: string): NarListing {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new LarderError('listing-malformed', 'the listing is not JSON', { cause: error });
  }
  const { version, root } = asObject(document, 'the document');
  if (version !== 1)
    throw new LarderError('listing-malformed', `the listing is of version ${String(version)}, not 1`);
  return parseNode(root, '/');
}

function parseNode(value: unknown, path: string): NarListing {
  const node = asObject(value, path);
  switch (node.type) {
    case 'regular':
      return parseFile(node, path);
    case 'symlink':
      if (typeof node.target !== 'string')
        throw new LarderError('listing-malformed', `${path}: its target is no string`);
      return { type: 'symlink', target: node.target };
    case 'directory': {
      const entries = Object.create(null) as Record<string, NarListing>;
      for (const [name, entry] of Object.entries(asObject(node.entries, path))) {
        const fault = entryNameFault(toByteString(name));
        if (fault !== undefined)
          throw new LarderError('listing-malformed', `${path}: entry '${name}': ${fault}`);
        entries[name] = parseNode(entry, path === '/' ? `/${name}` : `${path}/${name}`);
      }
      return { type: 'directory', entries };
    }
    default:
      throw new LarderError('listing-malformed', `${path}: '${String(node.type)}' is no type of file`);
  }
}

function parseFile(node: Record<string, unknown>, path: string): ListedFile {
  const { size, narOffset, executable } = node;
  const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isSize(size)) throw new LarderError('listing-malformed', `${path}: its size is not a number of bytes`);
  if (narOffset !== undefined && !isSize(narOffset)) {
    throw new LarderError('listing-malformed', `${path}: its narOffset is not a number of bytes`);
  }
  return {
    type: 'regular',
    size,
    ...(executable === true ? { executable } : {}),
    ...(narOffset ? { narOffset } : {}),
  };
}

function asObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new LarderError('listing-malformed', `${path}: an object is missing`);
}
