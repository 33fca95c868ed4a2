import { type Hash, Hasher } from '@larder/signing/hash';
import type { ByteString } from '@larder/signing/nar-format';
import { formatNarListing, NarLister } from '@larder/signing/nar-listing';
import { type NarFileHeader, NarParser, type NarVisitor } from '@larder/signing/nar-parser';
import { HashPartCollector } from './hash-parts.js';

/** Entries that a kept listing may have: some 10 MB of text, and as much memory again while it is made. */
const MAX_LISTED = 100_000;

/**
 * Reads a NAR once: parses it strictly, hashes it, lists it and collects what could be references.
 * `write` and `finish` throw `nar-malformed`.
 */
export class NarSurvey {
  readonly #hasher = new Hasher('sha256');
  readonly #lister = new BoundedLister();
  readonly #parser = new NarParser(this.#lister);
  readonly #hashParts = new HashPartCollector();

  write(chunk: Uint8Array): void {
    this.#parser.write(chunk);
    this.#hasher.update(chunk);
    this.#hashParts.write(chunk);
  }

  finish(): {
    readonly narHash: Hash;
    readonly narSize: number;
    readonly hashParts: Buffer | undefined;
    readonly listing: string | undefined;
  } {
    this.#parser.end();
    return {
      narHash: this.#hasher.digest(),
      narSize: this.#hasher.size,
      hashParts: this.#hashParts.finish(),
      listing: this.#lister.finish(),
    };
  }
}

/** Lists an archive, and gives up on one with more entries than are worth keeping. */
class BoundedLister implements NarVisitor {
  #lister: NarLister | undefined = new NarLister();
  #count = 0;

  enterDirectory(name: ByteString): void {
    this.#counted()?.enterDirectory(name);
  }

  leaveDirectory(): void {
    this.#lister?.leaveDirectory();
  }

  beginFile(name: ByteString, header: NarFileHeader): void {
    this.#counted()?.beginFile(name, header);
  }

  contents(): void {}

  endFile(): void {}

  symlink(name: ByteString, target: ByteString): void {
    this.#counted()?.symlink(name, target);
  }

  finish(): string | undefined {
    return this.#lister === undefined ? undefined : formatNarListing(this.#lister.listing());
  }

  #counted(): NarLister | undefined {
    if (++this.#count > MAX_LISTED) this.#lister = undefined;
    return this.#lister;
  }
}
