import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { LarderError } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { paddingOf } from '@larder/signing/nar-format';
import { ignoringVisitor, NarParser } from '@larder/signing/nar-parser';
import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir } from '@larder/signing/store-path';
import { EXPORT_MAGIC } from './store-export.js';

/** Longer than any path. */
const MAX_STRING_LENGTH = 64 * 1024;

/**
 * Reads what `nix-store --export` writes. What is known of a path stands behind its archive, so that one waits in a file
 * meanwhile. Format: `Store::importPaths`.
 */
export class ExportReader implements AsyncDisposable {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #storeDir: StoreDir;
  readonly #directory = mkdtempSync(`${tmpdir()}/larder-import-`);
  #buffer: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>, storeDir: StoreDir) {
    this.#source = source[Symbol.asyncIterator]();
    this.#storeDir = storeDir;
  }

  /** The file with the archive of the path that came last. */
  get archive(): string {
    return `${this.#directory}/nar`;
  }

  /** The next path, its archive in `archive`; undefined at the end. @throws `export-malformed`, `nar-malformed` */
  async next(): Promise<PathInfo | undefined> {
    const more = await this.#number();
    if (more === 0) return undefined;
    if (more !== 1) throw malformed("input doesn't look like something created by 'nix-store --export'");
    const { hash: narHash, size: narSize } = await this.#readArchive();
    if ((await this.#number()) !== EXPORT_MAGIC)
      throw malformed('Nix archive cannot be imported; wrong format');
    const storePath = this.#storeDir.parse(await this.#string());
    const references = [];
    for (let left = await this.#number(); left > 0; left--)
      references.push(this.#storeDir.parse(await this.#string()));
    const deriver = await this.#string();
    // A signature of a kind that is no longer in use.
    if ((await this.#number()) === 1) await this.#string();
    return {
      storePath,
      narHash,
      narSize,
      references: references.sort(),
      signatures: [],
      ...(deriver === '' ? {} : { deriver: this.#storeDir.parse(deriver) }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#directory, { recursive: true });
  }

  async #readArchive(): Promise<{ readonly hash: PathInfo['narHash']; readonly size: number }> {
    const file = openSync(this.archive, 'w', 0o600);
    const hasher = new Hasher('sha256');
    const parser = new NarParser(ignoringVisitor);
    try {
      while (!parser.done) {
        if (this.#buffer.length === 0) await this.#pull();
        const used = this.#buffer.subarray(0, parser.writePart(this.#buffer));
        this.#buffer = this.#buffer.subarray(used.length);
        hasher.update(used);
        for (let at = 0; at < used.length; ) at += writeSync(file, used, at);
      }
    } finally {
      closeSync(file);
    }
    return { hash: hasher.digest(), size: hasher.size };
  }

  async #number(): Promise<number> {
    return Number((await this.#take(8)).readBigUInt64LE());
  }

  async #string(): Promise<string> {
    const length = await this.#number();
    if (length > MAX_STRING_LENGTH) throw malformed(`a path of ${length} bytes`);
    return (await this.#take(length + paddingOf(length))).toString('utf8', 0, length);
  }

  async #take(size: number): Promise<Buffer> {
    while (this.#buffer.length < size) await this.#pull();
    const taken = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return taken;
  }

  async #pull(): Promise<void> {
    const { done, value } = await this.#source.next();
    if (done === true) throw malformed('unexpected end-of-file');
    this.#buffer = Buffer.concat([this.#buffer, value]);
  }
}

function malformed(what: string): LarderError<'export-malformed'> {
  return new LarderError('export-malformed', what);
}
