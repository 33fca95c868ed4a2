import { createReadStream } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Hash, type HashAlgorithm, Hasher } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import { ReferenceScanner } from '@larder/signing/references';
import { type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { RewritingStream } from '../derivation/rewrite.js';

export interface InspectedOutput {
  readonly narHash: Hash;
  readonly narSize: number;
  /** Which of the candidates occur, sorted. */
  readonly references: readonly StorePath[];
}

/** Reads a tree once, for its NAR's hash and size and for what it refers to. */
export async function inspectOutput(path: string, candidates: Iterable<StorePath>): Promise<InspectedOutput> {
  const byHashPart = new Map<string, StorePath>();
  for (const candidate of candidates) byHashPart.set(storePathHashPart(candidate), candidate);
  const scanner = new ReferenceScanner(byHashPart.keys());
  const hasher = new Hasher('sha256');
  for await (const chunk of inTurns(writeNar(path))) {
    hasher.update(chunk);
    scanner.write(chunk);
  }
  const references = [...scanner.found()].map((hashPart) => byHashPart.get(hashPart)!).sort();
  return { narHash: hasher.digest(), narSize: hasher.size, references };
}

/**
 * The hash that a content-addressed path is named by: of the file or of the NAR, with the path's own hash part
 * as zeros, followed by the places where it stood. Reference: "self-references" in the manual's "Store path
 * specification".
 */
export async function hashModuloSelf(
  path: string,
  self: StorePath,
  { method, algorithm }: { readonly method: 'flat' | 'recursive'; readonly algorithm: HashAlgorithm },
): Promise<Hash> {
  const hashPart = storePathHashPart(self);
  const stream = new RewritingStream(new Map([[hashPart, '\0'.repeat(hashPart.length)]]));
  const hasher = new Hasher(algorithm);
  const source = method === 'flat' ? createReadStream(path) : inTurns(writeNar(path));
  for await (const chunk of source) hasher.update(stream.write(chunk as Uint8Array));
  hasher.update(stream.end());
  for (const offset of stream.matches) hasher.update(Buffer.from(`|${offset}`));
  return hasher.digest();
}

/** Reading and hashing are synchronous, a chunk at a time: other builds get their turn in between. */
async function* inTurns(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let chunks = 0;
  for await (const chunk of source) {
    if (chunks++ > 0) await nextTurn();
    yield chunk;
  }
}
