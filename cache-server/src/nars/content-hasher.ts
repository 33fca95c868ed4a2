import { type Hash, Hasher } from '@larder/signing/hash';
import type { ByteString } from '@larder/signing/nar-format';
import { type NarFileHeader, NarParser, type NarVisitor } from '@larder/signing/nar-parser';
import { HASH_PART_LENGTH } from '@larder/signing/store-path';
import type { ContentHashRequest } from './content-facts.js';

/** Computes the hash that a content address is about, from the NAR that goes by. */
export class ContentHasher implements NarVisitor {
  readonly #hasher: Hasher;
  readonly #blank: SelfReferenceBlanker | undefined;
  readonly #isFlat: boolean;
  readonly #parser: NarParser;
  #isPlainFile = false;

  constructor(request: ContentHashRequest) {
    this.#hasher = new Hasher(request.algorithm);
    this.#isFlat = request.method !== 'recursive';
    this.#blank = request.modulo === undefined ? undefined : new SelfReferenceBlanker(request.modulo);
    this.#parser = new NarParser(this);
  }

  write(chunk: Uint8Array): void {
    this.#parser.write(chunk);
    if (this.#isFlat) return;
    if (this.#blank === undefined) this.#hasher.update(chunk);
    else for (const piece of this.#blank.write(chunk)) this.#hasher.update(piece);
  }

  finish(): Hash | undefined {
    this.#parser.end();
    if (this.#isFlat && !this.#isPlainFile) return undefined;
    for (const piece of this.#blank?.finish() ?? []) this.#hasher.update(piece);
    return this.#hasher.digest();
  }

  enterDirectory(): void {}

  leaveDirectory(): void {}

  beginFile(name: ByteString, { executable }: NarFileHeader): void {
    if (name === '' && !executable) this.#isPlainFile = true;
  }

  contents(chunk: Uint8Array): void {
    if (this.#isFlat && this.#isPlainFile) this.#hasher.update(chunk);
  }

  endFile(): void {}

  symlink(): void {}
}

/**
 * Replaces a path's own hash part by zeros, and appends where it stood: what a path that refers to itself is hashed as.
 * Format: `HashModuloSink` in Nix (`references.cc`).
 */
class SelfReferenceBlanker {
  readonly #needle: Buffer;
  readonly #zeros = Buffer.alloc(HASH_PART_LENGTH);
  readonly #positions: number[] = [];
  #held: Buffer = Buffer.alloc(0);
  #offset = 0;

  constructor(hashPart: string) {
    this.#needle = Buffer.from(hashPart, 'latin1');
  }

  *write(chunk: Uint8Array): Generator<Uint8Array> {
    const bytes = Buffer.concat([this.#held, chunk]);
    let at = 0;
    for (let found = bytes.indexOf(this.#needle); found >= 0; found = bytes.indexOf(this.#needle, at)) {
      yield bytes.subarray(at, found);
      yield this.#zeros;
      this.#positions.push(this.#offset + found);
      at = found + HASH_PART_LENGTH;
    }
    const edge = Math.max(at, bytes.length - (HASH_PART_LENGTH - 1));
    yield bytes.subarray(at, edge);
    this.#held = bytes.subarray(edge);
    this.#offset += edge;
  }

  *finish(): Generator<Uint8Array> {
    yield this.#held;
    for (const position of this.#positions) yield Buffer.from(`|${position}`);
  }
}
