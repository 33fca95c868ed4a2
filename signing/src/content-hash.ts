import { createHash, type Hash as NodeHash } from 'node:crypto';
import type { ContentAddressMethod } from './content-address.js';
import { LarderError } from './errors.js';
import { Hash, type HashAlgorithm } from './hash.js';
import { NarParser, type NarVisitor } from './nar-parser.js';
import { dumpNar } from './nar-writer.js';
import { type StorePath, storePathHashPart } from './store-path.js';

export interface ContentHashOptions {
  readonly method: ContentAddressMethod;
  readonly algorithm: HashAlgorithm;
  /** The path itself, when it refers to itself: its own name is left out of the hash. */
  readonly self?: StorePath;
}

/**
 * The hash that a content address names the file or tree at `path` by: of its NAR (`recursive`), or of its
 * bytes (`flat` and `text`, for files that are not executable).
 * @throws `content-address-unsupported` for git trees, and for `flat` and `text` of anything but a plain file
 */
export async function computeContentHash(path: string, options: ContentHashOptions): Promise<Hash> {
  const { method, algorithm, self } = options;
  const hash = createHash(algorithm);
  if (method === 'recursive') {
    const sink = self === undefined ? hash : new SelfBlindHash(hash, storePathHashPart(self));
    for (const chunk of dumpNar(path)) sink.update(chunk);
    if (sink instanceof SelfBlindHash) sink.finish();
  } else if (method === 'git') {
    throw new LarderError('content-address-unsupported', `${path}: git tree hashes are not supported`);
  } else {
    const parser = new NarParser(plainFileHasher(path, hash));
    for (const chunk of dumpNar(path)) parser.write(chunk);
    parser.end();
  }
  return new Hash(algorithm, hash.digest());
}

function plainFileHasher(path: string, hash: NodeHash): NarVisitor {
  const refuse = (): never => {
    throw new LarderError(
      'content-address-unsupported',
      `${path} is addressed as a plain file, which it is not`,
    );
  };
  return {
    enterDirectory: refuse,
    leaveDirectory: () => {},
    beginFile: (_name, { executable }) => {
      if (executable) refuse();
    },
    contents: (chunk) => {
      hash.update(chunk);
    },
    endFile: () => {},
    symlink: refuse,
  };
}

/**
 * Hashes bytes with each occurrence of a hash part zeroed, then `|<position>` of each: Nix's "hash modulo", which
 * lets a path that contains its own name be named by its contents.
 */
class SelfBlindHash {
  readonly #hash: NodeHash;
  readonly #needle: Buffer;
  readonly #positions: number[] = [];
  #pending = Buffer.alloc(0);
  #hashed = 0;

  constructor(hash: NodeHash, hashPart: string) {
    this.#hash = hash;
    this.#needle = Buffer.from(hashPart);
  }

  update(chunk: Uint8Array): void {
    const data = Buffer.concat([this.#pending, chunk]); // A copy, so that zeroing does not reach the caller.
    this.#zero(data);
    // The last bytes may begin an occurrence that the next chunk completes.
    const keep = Math.min(this.#needle.length - 1, data.length);
    this.#emit(data.subarray(0, data.length - keep));
    this.#pending = data.subarray(data.length - keep);
  }

  finish(): void {
    this.#emit(this.#pending);
    for (const position of this.#positions) this.#hash.update(`|${position}`);
  }

  #zero(data: Buffer): void {
    for (
      let at = data.indexOf(this.#needle);
      at >= 0;
      at = data.indexOf(this.#needle, at + this.#needle.length)
    ) {
      data.fill(0, at, at + this.#needle.length);
      this.#positions.push(this.#hashed + at);
    }
  }

  #emit(data: Buffer): void {
    this.#hash.update(data);
    this.#hashed += data.length;
  }
}
