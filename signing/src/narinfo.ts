import { formatContentAddress, parseContentAddress } from './content-address.js';
import { LarderError } from './errors.js';
import { type Hash, parseHash } from './hash.js';
import type { PathInfo } from './path-info.js';
import { parseSignature } from './signature.js';
import { parseStorePath, type StoreDir, type StorePath } from './store-path.js';

/** A `<hash>.narinfo`: a path's metadata and where its archive is. */
export interface NarInfo extends PathInfo {
  /** Relative to the cache's root, or absolute; it may carry a query. */
  readonly url: string;
  /** As written: `none`, `xz`, `zstd`, …; a narinfo that says nothing means `bzip2`. */
  readonly compression: string;
  /** Of the compressed file; optional, and never checked by Nix. */
  readonly fileHash?: Hash;
  /** Bytes of the compressed file. */
  readonly fileSize?: number;
  readonly system?: string;
}

interface Draft {
  storePath?: StorePath;
  url?: string;
  compression?: string;
  fileHash?: Hash;
  fileSize?: number;
  narHash?: Hash;
  narSize?: number;
  references?: StorePath[];
  deriver?: StorePath;
  system?: string;
  signatures: string[];
  ca?: PathInfo['ca'];
}

interface Field {
  readonly key: string;
  readonly read: (draft: Draft, value: string, storeDir: StoreDir) => void;
  /** The lines this field takes; none leaves it out. */
  readonly write: (info: NarInfo, storeDir: StoreDir) => readonly string[];
}

const optional = (value: string | undefined): readonly string[] => (value === undefined ? [] : [value]);

/** In the order Nix writes them. */
const FIELDS: readonly Field[] = [
  {
    key: 'StorePath',
    read: (draft, value, storeDir) => {
      draft.storePath = storeDir.parse(value);
    },
    write: (info, storeDir) => [storeDir.format(info.storePath)],
  },
  {
    key: 'URL',
    read: (draft, value) => {
      draft.url = value;
    },
    write: (info) => [info.url],
  },
  {
    key: 'Compression',
    read: (draft, value) => {
      draft.compression = value;
    },
    write: (info) => [info.compression],
  },
  {
    key: 'FileHash',
    read: (draft, value) => {
      draft.fileHash = parseHash(value);
    },
    write: (info) => optional(info.fileHash?.format('nix32')),
  },
  {
    key: 'FileSize',
    read: (draft, value) => {
      draft.fileSize = parseSize(value);
    },
    write: (info) => optional(info.fileSize?.toString()),
  },
  {
    key: 'NarHash',
    read: (draft, value) => {
      draft.narHash = parseHash(value);
    },
    write: (info) => [info.narHash.format('nix32')],
  },
  {
    key: 'NarSize',
    read: (draft, value) => {
      draft.narSize = parseSize(value);
    },
    write: (info) => [info.narSize.toString()],
  },
  {
    key: 'References',
    read: (draft, value) => {
      if (draft.references !== undefined)
        throw new LarderError('narinfo-malformed', 'References is repeated');
      draft.references = value
        .split(' ')
        .filter((name) => name !== '')
        .map(parseStorePath);
    },
    // A space follows the colon even when there are none: readers skip that character unread.
    write: (info) => [info.references.join(' ')],
  },
  {
    key: 'Deriver',
    read: (draft, value) => {
      if (value !== 'unknown-deriver') draft.deriver = parseStorePath(value);
    },
    write: (info) => optional(info.deriver),
  },
  {
    key: 'System',
    read: (draft, value) => {
      draft.system = value;
    },
    write: (info) => optional(info.system),
  },
  {
    key: 'Sig',
    read: (draft, value) => {
      parseSignature(value);
      draft.signatures.push(value);
    },
    write: (info) => info.signatures,
  },
  {
    key: 'CA',
    read: (draft, value) => {
      if (draft.ca !== undefined) throw new LarderError('narinfo-malformed', 'CA is repeated');
      draft.ca = parseContentAddress(value);
    },
    write: (info) => optional(info.ca === undefined ? undefined : formatContentAddress(info.ca)),
  },
];

const BY_KEY: ReadonlyMap<string, Field> = new Map(FIELDS.map((field) => [field.key, field]));

/**
 * Parses a narinfo. Fields come in any order, unknown ones are ignored. Format: `nar-info.cc` in Nix.
 * @throws `narinfo-malformed` naming the field or what is missing; `source` says where the text came from.
 */
export function parseNarInfo(text: string, storeDir: StoreDir, source = 'narinfo'): NarInfo {
  const draft: Draft = { signatures: [] };
  if (!text.endsWith('\n')) throw malformed(source, 'its last line does not end');
  for (const line of text.slice(0, -1).split('\n')) readLine(draft, line, { storeDir, source });
  return finish(draft, source);
}

function readLine(
  draft: Draft,
  line: string,
  where: { readonly storeDir: StoreDir; readonly source: string },
): void {
  const colon = line.indexOf(':');
  if (colon < 0) throw malformed(where.source, `the line '${line.slice(0, 80)}' has no colon`);
  const field = BY_KEY.get(line.slice(0, colon));
  if (field === undefined) return;
  try {
    field.read(draft, line.slice(colon + 2), where.storeDir);
  } catch (error) {
    if (!(error instanceof LarderError)) throw error;
    throw malformed(where.source, `${field.key}: ${error.message}`, error);
  }
}

function finish(draft: Draft, source: string): NarInfo {
  const { storePath, url, narHash, narSize } = draft;
  if (storePath === undefined) throw malformed(source, 'StorePath is missing');
  if (url === undefined || url === '') throw malformed(source, 'URL is missing');
  if (narHash === undefined) throw malformed(source, 'NarHash is missing');
  if (narHash.algorithm !== 'sha256')
    throw malformed(source, `NarHash is ${narHash.algorithm}, it must be sha256`);
  if (narSize === undefined || narSize === 0) throw malformed(source, 'NarSize is missing or zero');
  const compression =
    draft.compression === undefined || draft.compression === '' ? 'bzip2' : draft.compression;
  const references = [...new Set(draft.references ?? [])].sort();
  return { ...draft, storePath, url, compression, narHash, narSize, references };
}

/** Writes a narinfo in Nix's own order and notation; `parseNarInfo` gives back an equal one. */
export function formatNarInfo(info: NarInfo, storeDir: StoreDir): string {
  let text = '';
  for (const field of FIELDS) {
    for (const value of field.write(info, storeDir)) {
      if (value.includes('\n')) throw malformed(info.storePath, `${field.key} has a line break in it`);
      text += `${field.key}: ${value}\n`;
    }
  }
  return text;
}

function parseSize(value: string): number {
  const size = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(size))
    throw new LarderError('narinfo-malformed', `'${value}' is not a size in bytes`);
  return size;
}

function malformed(source: string, why: string, cause?: unknown): LarderError {
  return new LarderError('narinfo-malformed', `${source}: ${why}`, { cause, fields: { source } });
}
