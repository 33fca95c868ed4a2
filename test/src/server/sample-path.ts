import { createHash } from 'node:crypto';
import { formatBase32 } from '@larder/signing/base32';
import { formatContentAddress, makeTextPath } from '@larder/signing/content-address';
import { computeHash, type Hash } from '@larder/signing/hash';
import { narOfContents } from '@larder/signing/nar-writer';
import { parseStorePath, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import type { CommitPath } from '@larder/signing/upload';
import { defaultStoreDir } from '../store-dir.js';

/** A store path made for a test: a single file. */
export interface SamplePath {
  readonly storePath: StorePath;
  readonly hashPart: string;
  readonly nar: Buffer;
  readonly narHash: Hash;
  readonly references: readonly StorePath[];
  readonly ca?: string;
}

/** An input-addressed path whose file mentions what it refers to. */
export function samplePath(name: string, references: readonly SamplePath[] = [], padding = ''): SamplePath {
  const digest = createHash('sha1').update(name).digest();
  const storePath = parseStorePath(`${formatBase32(digest)}-${name}`);
  const paths = references.map((reference) => reference.storePath).sort();
  const text = `${name}\n${paths.map((path) => `/nix/store/${path}\n`).join('')}${padding}`;
  return describe(storePath, packFile(text), { references: paths });
}

/** A text file, as `builtins.toFile` makes it: its path is proof of its contents. */
export function textPath(name: string, text: string): SamplePath {
  const hash = computeHash('sha256', text);
  const storePath = makeTextPath(defaultStoreDir, name, { hash });
  return describe(storePath, packFile(text), {
    references: [],
    ca: formatContentAddress({ method: 'text', hash }),
  });
}

function describe(
  storePath: StorePath,
  nar: Buffer,
  rest: Pick<SamplePath, 'references' | 'ca'>,
): SamplePath {
  const hashPart = storePathHashPart(storePath);
  return { storePath, hashPart, nar, narHash: computeHash('sha256', nar), ...rest };
}

/** A NAR of one file. */
export function packFile(contents: string | Buffer): Buffer {
  return Buffer.concat([...narOfContents(Buffer.from(contents))]);
}

/** A string as NARs have it: length, bytes, padding. */
export function packString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
}

export function bare(hash: Hash): string {
  return hash.format('nix32', { prefix: false });
}

/** As a commit of the upload API has it. */
export function commitOf(path: SamplePath): CommitPath {
  return {
    storePath: path.storePath,
    narHash: path.narHash.toString(),
    narSize: path.nar.length,
    references: path.references,
    ...(path.ca === undefined ? {} : { ca: path.ca }),
  };
}

/** As stock Nix would write it for an upload without compression; `fields` replace lines or, with '', drop them. */
export function narInfoOf(path: SamplePath, fields: Readonly<Record<string, string>> = {}): string {
  const lines = {
    StorePath: `/nix/store/${path.storePath}`,
    URL: `nar/${bare(path.narHash)}.nar`,
    Compression: 'none',
    FileHash: path.narHash.toString(),
    FileSize: `${path.nar.length}`,
    NarHash: path.narHash.toString(),
    NarSize: `${path.nar.length}`,
    References: path.references.join(' '),
    CA: path.ca ?? '',
    ...fields,
  };
  const kept = Object.entries(lines).filter(([key, value]) => key === 'References' || value !== '');
  return kept.map(([key, value]) => `${key}: ${value}\n`).join('');
}
