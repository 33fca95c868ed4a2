import type {
  DeleteOptions,
  GetOptions,
  ObjectInfo,
  ObjectStorage,
  PutOptions,
  StagedObject,
  StageOptions,
  StoredObject,
} from '@larder/cache-server/storage/storage';

/** A storage whose writes can be made to fail, as of a process that dies: from one write on, before or after it was done. */
export class FragileStorage implements ObjectStorage {
  readonly #inner: ObjectStorage;
  #writes = Number.POSITIVE_INFINITY;
  #isAfter = false;

  constructor(inner: ObjectStorage) {
    this.#inner = inner;
  }

  get engine(): 'disk' | 's3' {
    return this.#inner.engine;
  }

  /** Lets so many writes go well; the next, and all that follow, fail: the first of them perhaps after it was done. */
  breakAfter(writes: number, isAfter: boolean): void {
    this.#writes = writes;
    this.#isAfter = isAfter;
  }

  mend(): void {
    this.#writes = Number.POSITIVE_INFINITY;
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    await this.#write(() => this.#inner.put(key, bytes, options));
  }

  async stage(source: AsyncIterable<Uint8Array>, options?: StageOptions): Promise<StagedObject> {
    const staged = await this.#inner.stage(source, options);
    return {
      size: staged.size,
      publish: (key) => this.#write(() => staged.publish(key)),
      [Symbol.asyncDispose]: () => staged[Symbol.asyncDispose](),
    };
  }

  async delete(keys: readonly string[], options?: DeleteOptions): Promise<void> {
    // Several objects are no transaction: some may be gone when it fails.
    for (const key of keys) await this.#write(() => this.#inner.delete([key], options));
  }

  get(key: string, options?: GetOptions): Promise<StoredObject | undefined> {
    return this.#inner.get(key, options);
  }

  head(key: string): Promise<ObjectInfo | undefined> {
    return this.#inner.head(key);
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.#inner.list(prefix);
  }

  listCaches(): Promise<readonly string[]> {
    return this.#inner.listCaches();
  }

  sweep(before: Date): Promise<number> {
    return this.#inner.sweep(before);
  }

  check(): Promise<void> {
    return this.#inner.check();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #write(run: () => Promise<void>): Promise<void> {
    if (this.#writes >= 1) {
      this.#writes--;
      return run();
    }
    if (this.#writes === 0 && this.#isAfter) await run();
    this.#writes = -1;
    throw new BrokenStorage();
  }
}

/** What a broken storage throws. */
export class BrokenStorage extends Error {}
