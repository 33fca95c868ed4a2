import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StorePath } from '@larder/signing/store-path';
import { Bzip2Encoder } from './bzip2-encoder.js';

/** Where Nix keeps the log of a derivation's build, without the ending of a compressed one. */
export function buildLogPath(logDir: string, derivation: StorePath): string {
  return `${logDir}/drvs/${derivation.slice(0, 2)}/${derivation.slice(2)}`;
}

/** The log of a build on this machine, compressed or not, or `undefined` when there is none. */
export function findBuildLog(
  logDir: string,
  derivation: StorePath,
): { readonly path: string; readonly compressed: boolean } | undefined {
  const path = buildLogPath(logDir, derivation);
  if (existsSync(`${path}.bz2`)) return { path: `${path}.bz2`, compressed: true };
  return existsSync(path) ? { path, compressed: false } : undefined;
}

export function openBuildLog(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path);
}

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
