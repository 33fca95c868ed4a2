import type { Writable } from 'node:stream';

/** An inclusive range of bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface ObjectInfo {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  readonly modified: Date;
}

/** An object being read. Its body is consumed once, or the object is disposed of: it holds a file or a socket. */
export interface StoredObject extends AsyncDisposable {
  /** Bytes of the whole object, whatever range is read. */
  readonly size: number;
  readonly body: AsyncIterable<Uint8Array>;
  /** In the place of `body`, for engines that have a shorter way: writes the bytes to `sink`, a socket or a response, without ending it. */
  sendTo?(sink: Writable): Promise<void>;
}

/**
 * Bytes that are in the storage but under no key yet. Disposing of it removes them, unless they were published.
 */
export interface StagedObject extends AsyncDisposable {
  /** Bytes. */
  readonly size: number;
  /** Makes the bytes appear under `key`, whole and durable once this resolves. At most once. */
  publish(key: string): Promise<void>;
}

export interface PutOptions {
  /** MIME type; engines that cannot keep it ignore it. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export interface StageOptions extends PutOptions {
  /** The key it will be published under, where that is known: it spares S3 a copy. */
  readonly key?: string;
}

/**
 * Where objects live: disk or S3. Keys are `/`-separated names (see `checkKey`). Every engine keeps these promises,
 * which `test/src/contract` checks against each:
 *
 * - an object appears whole or not at all, under whatever fault;
 * - once a write resolves, the object outlives the process (and, on disk, the machine);
 * - a write replaces what was under its key, and readers of the old object finish undisturbed;
 * - memory is bounded whatever an object's size.
 *
 * All methods throw `storage-failed` naming the key; an absent object is `undefined`, and no error to delete.
 */
export interface ObjectStorage extends AsyncDisposable {
  readonly engine: 'disk' | 's3';
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /** Drains `source` into the storage, without showing it. An error of `source` leaves nothing behind. */
  stage(source: AsyncIterable<Uint8Array>, options?: StageOptions): Promise<StagedObject>;
  /** The range must lie within the object. */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;
  head(key: string): Promise<ObjectInfo | undefined>;
  delete(keys: readonly string[], options?: DeleteOptions): Promise<void>;
  /** A URL that gives the object to whoever has it, for so many seconds; for engines that clients can reach themselves. */
  presign?(key: string, seconds: number): Promise<string>;
  /** All objects whose key starts with `prefix`, sorted by key. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** The names directly under the root that have objects below them: one a cache. */
  listCaches(): Promise<readonly string[]>;
  /** Removes what writers that died left, when untouched since `before`; gives how many pieces. */
  sweep(before: Date): Promise<number>;
  /** Resolves when the storage can be written to. */
  check(): Promise<void>;
}

export interface DeleteOptions {
  readonly signal?: AbortSignal;
}

export interface GetOptions {
  readonly range?: ByteRange;
  readonly signal?: AbortSignal;
}

/** A small object's bytes. */
export async function readObject(storage: ObjectStorage, key: string): Promise<Buffer | undefined> {
  await using object = await storage.get(key);
  if (object === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of object.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
