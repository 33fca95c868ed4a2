import { stat } from 'node:fs/promises';
import type { ChunkFiles, RemoteFile } from '@larder/cache-server/migrate/attic/remote-file';
import { LarderError } from '@larder/signing/errors';
import type { CacheFiles } from '@larder/substituter/binary-cache/cache-files';
import { type OpenContext, openCacheFiles } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';

/** The storage of an attic server: a directory or a bucket, or both where it was moved from one to the other. Only read. */
export class AtticStorage implements ChunkFiles, AsyncDisposable {
  #directory: CacheFiles | undefined;
  readonly #buckets = new Map<string, CacheFiles>();

  /** @param places directories, `file://DIR`, `s3://BUCKET?endpoint=…&region=…` */
  static async open(places: readonly string[], context: OpenContext): Promise<AtticStorage> {
    const storage = new AtticStorage();
    for (const place of places) {
      const uri = parseStoreUri(
        /^[a-z0-9]+:\/\//i.test(place) ? place : `file://${encodeURIComponent(place)}`,
      );
      if (uri.kind !== 'file' && uri.kind !== 's3')
        throw new LarderError(
          'usage',
          `attic keeps chunks in a directory or in s3://BUCKET, not in '${place}'`,
        );
      if (uri.kind === 'file') await checkDirectory(uri.directory);
      const files = await openCacheFiles(uri, context);
      if (uri.kind === 'file') storage.#directory = files;
      else storage.#buckets.set(uri.bucket, files);
    }
    return storage;
  }

  async *open(file: RemoteFile): AsyncIterable<Uint8Array> {
    if (file.kind === 'http')
      throw missing(`it is at ${file.url}, and attic itself never puts chunks on the web`);
    if (file.kind === 's3') return yield* this.#bucket(file.bucket).open(file.key);
    const { name } = file;
    if (this.#directory === undefined)
      throw missing(`attic has ${name} in a directory: name it with --storage DIR`);
    // Attic's layout 1: two levels of folders, by how names start. Before, all lay side by side.
    const sharded = `${name.slice(0, 1)}/${name.slice(0, 2)}/${name}`;
    const isSharded = await this.#directory.exists(sharded);
    yield* this.#directory.open(!isSharded && (await this.#directory.exists(name)) ? name : sharded);
  }

  /** The bucket of that name or, if it was copied to one of another name, the only one there is. */
  #bucket(name: string): CacheFiles {
    const [first] = this.#buckets.values();
    const files = this.#buckets.get(name) ?? (this.#buckets.size === 1 ? first : undefined);
    if (files !== undefined) return files;
    throw missing(
      `attic has it in the bucket '${name}': name it with --storage s3://${name}?endpoint=…&region=…`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory?.close();
    for (const files of this.#buckets.values()) await files.close();
  }
}

function missing(message: string): LarderError {
  return new LarderError('cache-file-missing', message);
}

/** A wrong one would have every chunk missing. */
async function checkDirectory(path: string): Promise<void> {
  const info = await stat(path);
  if (!info.isDirectory()) throw new LarderError('usage', `${path} is not a directory`);
}
