import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StorePath } from '@larder/signing/store-path';
import { buildLogPath } from '@larder/substituter/local-store/build-logs';
import { Bzip2Encoder } from './bzip2-encoder.js';

/** Writes a log as its build prints it. Writes are in order; the first failure is thrown at the end. */
export class BuildLogWriter {
  readonly #file: FileHandle;
  readonly #encoder: Bzip2Encoder | undefined;
  #written: Promise<unknown> = Promise.resolve();

  private constructor(file: FileHandle, encoder: Bzip2Encoder | undefined) {
    this.#file = file;
    this.#encoder = encoder;
  }

  static async create(
    logDir: string,
    derivation: StorePath,
    { compress }: { readonly compress: boolean },
  ): Promise<BuildLogWriter> {
    const path = `${buildLogPath(logDir, derivation)}${compress ? '.bz2' : ''}`;
    await mkdir(dirname(path), { recursive: true });
    return new BuildLogWriter(await open(path, 'w', 0o666), compress ? new Bzip2Encoder() : undefined);
  }

  write(chunk: Uint8Array): void {
    this.#append(this.#encoder === undefined ? chunk : this.#encoder.write(chunk));
  }

  async close(): Promise<void> {
    if (this.#encoder !== undefined) this.#append(this.#encoder.end());
    try {
      await this.#written;
    } finally {
      await this.#file.close();
    }
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#written = this.#written.then(() => this.#file.writeFile(bytes));
    this.#written.catch(() => {}); // Thrown by close.
  }
}
