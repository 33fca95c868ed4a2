import { formatContentAddress, parseContentAddress } from '@larder/signing/content-address';
import type { Derivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import { parseHash } from '@larder/signing/hash';
import { ignoringVisitor, NarParser } from '@larder/signing/nar-parser';
import { type PathInfo, sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { MachineStore, PackedSource, ReadOptions } from '../store.js';
import { type DaemonBuildResult, readBuildResult, writeBasicDerivation } from './daemon-build.js';
import { OPERATION } from './daemon-connection.js';
import type { DaemonPool } from './daemon-pool.js';
import { type WireReader, WireWriter } from './wire.js';

export interface DaemonStoreOptions {
  readonly storeDir: StoreDir;
  /** How messages name it. */
  readonly uri?: string;
}

/** A path the daemon is asked to take. */
export interface DaemonUpload {
  readonly info: PathInfo;
  readonly nar: AsyncIterable<Uint8Array>;
  /** False asks a daemon that trusts us to take it unsigned; one that does not refuses it all the same. */
  readonly checkSignatures: boolean;
}

/** What a daemon's garbage collector is to do: delete everything dead or these paths, or tell what lives or is dead. */
export interface DaemonCollection {
  readonly action: 'live' | 'dead' | 'delete' | 'delete-paths';
  readonly paths?: Iterable<StorePath>;
  /** Bytes after which to stop. */
  readonly maxFreed?: number;
}

export interface DaemonCollected {
  readonly paths: readonly string[];
  readonly bytesFreed: number;
}

/**
 * This machine's store through Nix's daemon, for users who may not write it themselves. The daemon checks hashes and
 * signatures by its own configuration, whatever this side checked before.
 */
export class DaemonStore implements MachineStore {
  readonly uri: string;
  readonly storeDir: StoreDir;
  readonly #pool: DaemonPool;

  constructor(pool: DaemonPool, { storeDir, uri = 'daemon' }: DaemonStoreOptions) {
    this.#pool = pool;
    this.storeDir = storeDir;
    this.uri = uri;
  }

  async close(): Promise<void> {
    this.#pool.close();
  }

  async queryPathInfo(path: StorePath): Promise<ValidPathInfo | undefined> {
    return this.#call(
      this.#request(OPERATION.queryPathInfo).string(this.storeDir.format(path)),
      async (reader) => ((await reader.boolean()) ? this.#readPathInfo(path, reader) : undefined),
    );
  }

  async queryPathFromHashPart(hashPart: string): Promise<StorePath | undefined> {
    const path = await this.#call(this.#request(OPERATION.queryPathFromHashPart).string(hashPart), (reader) =>
      reader.string(),
    );
    return path === '' ? undefined : this.storeDir.parse(path);
  }

  /** Which of these paths are valid; with `substitute`, once the daemon has fetched from its caches what they have. */
  async queryValidPaths(
    paths: Iterable<StorePath>,
    { substitute = false }: { readonly substitute?: boolean } = {},
  ): Promise<Set<StorePath>> {
    const request = this.#request(OPERATION.queryValidPaths).strings(this.#format(paths)).number(substitute);
    return new Set(await this.#callForPaths(request));
  }

  async queryAllValidPaths(): Promise<StorePath[]> {
    return this.#callForPaths(this.#request(OPERATION.queryAllValidPaths));
  }

  async queryReferrers(path: StorePath): Promise<StorePath[]> {
    return this.#callForPaths(this.#request(OPERATION.queryReferrers).string(this.storeDir.format(path)));
  }

  async queryValidDerivers(path: StorePath): Promise<StorePath[]> {
    return this.#callForPaths(this.#request(OPERATION.queryValidDerivers).string(this.storeDir.format(path)));
  }

  async queryDerivationOutputs(derivation: StorePath): Promise<Map<string, StorePath>> {
    const request = this.#request(OPERATION.queryDerivationOutputMap).string(
      this.storeDir.format(derivation),
    );
    return this.#call(request, async (reader) => {
      const outputs = new Map<string, StorePath>();
      for (let left = await reader.number(); left > 0; left--) {
        const name = await reader.string();
        const path = await reader.string();
        if (path !== '') outputs.set(name, this.storeDir.parse(path));
      }
      return outputs;
    });
  }

  async queryClosure(roots: Iterable<StorePath>): Promise<ValidPathInfo[]> {
    const found: ValidPathInfo[] = [];
    await walk(roots, async (path) => {
      const info = await this.queryPathInfo(path);
      if (info !== undefined) found.push(info);
      return info?.references ?? [];
    });
    return sortByReferences(found);
  }

  async queryReferrersClosure(roots: Iterable<StorePath>): Promise<StorePath[]> {
    return [...(await walk(roots, (path) => this.queryReferrers(path)))].sort();
  }

  /** Keeps a path from garbage collection for as long as the connection lives. */
  async addTempRoot(path: StorePath): Promise<void> {
    await this.#call(this.#request(OPERATION.addTempRoot).string(this.storeDir.format(path)), (reader) =>
      reader.number(),
    );
  }

  /** Makes a link to a path a root of the garbage collector for as long as it is there. */
  async addIndirectRoot(link: string): Promise<void> {
    await this.#call(this.#request(OPERATION.addIndirectRoot).string(link), (reader) => reader.number());
  }

  /** Adds signatures to a valid path. The daemon refuses it to users it does not trust. */
  async addSignatures(path: StorePath, signatures: readonly string[]): Promise<void> {
    const request = this.#request(OPERATION.addSignatures)
      .string(this.storeDir.format(path))
      .strings(signatures);
    await this.#call(request, (reader) => reader.number());
  }

  /**
   * Has the daemon realise paths: plain store paths are substituted, `<drv>!<output>,…` and `<drv>!*` are built.
   * `check` builds again and compares, `repair` builds again to replace what is damaged.
   * @throws `daemon-refused` with the daemon's own account of what failed
   */
  async buildPaths(
    derivedPaths: readonly string[],
    mode: 'build' | 'repair' | 'check' = 'build',
  ): Promise<void> {
    const number = ['build', 'repair', 'check'].indexOf(mode);
    const request = this.#request(OPERATION.buildPaths).strings(derivedPaths).number(number);
    await this.#call(request, (reader) => reader.number());
  }

  /**
   * Has the daemon build one derivation that need not be in its store; what the build reads must be. A daemon takes
   * those whose outputs are named by their inputs only from users it trusts. When `signal` comes, the connection is
   * closed, which ends the build.
   * @throws `daemon-refused`, and what a broken connection throws; a failed build is an answer
   */
  async buildDerivation(
    path: StorePath,
    derivation: Derivation,
    { onLine, signal }: { readonly onLine: (line: string) => void; readonly signal?: AbortSignal },
  ): Promise<DaemonBuildResult> {
    const request = this.#request(OPERATION.buildDerivation).string(this.storeDir.format(path));
    writeBasicDerivation(request, derivation, this.storeDir);
    const normally = 0;
    request.number(normally);
    return this.#pool.use(async (connection) => {
      signal?.throwIfAborted();
      const abort = (): void => connection.close();
      signal?.addEventListener('abort', abort);
      try {
        await connection.request(request, { onBuildLine: onLine });
        return await connection.read((reader) => readBuildResult(reader, connection.minor));
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener('abort', abort);
      }
    });
  }

  openPacked(info: PathInfo, options?: ReadOptions): PackedSource {
    return { compression: 'none', bytes: this.#readNar(info, options) };
  }

  /** The path's NAR. It carries no frame: its own end is the stream's. */
  async *#readNar(info: PathInfo, { signal }: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const connection = await this.#pool.lend();
    let whole = false;
    try {
      await connection.request(
        this.#request(OPERATION.narFromPath).string(this.storeDir.format(info.storePath)),
      );
      const parser = new NarParser(ignoringVisitor);
      while (!parser.done) {
        signal?.throwIfAborted();
        const chunk = await connection.read((reader) => reader.chunk());
        parser.write(chunk);
        yield chunk;
      }
      whole = true;
    } catch (error) {
      // Refused before it began: the connection is still in step.
      whole = error instanceof LarderError && error.code === 'daemon-refused';
      throw error;
    } finally {
      if (!whole) connection.close();
      this.#pool.giveBack(connection);
    }
  }

  /**
   * Streams one path in. Its references must be valid by then.
   * @throws `daemon-refused` for a wrong hash or a signature the daemon does not trust
   */
  async addToStore({ info, nar, checkSignatures }: DaemonUpload): Promise<void> {
    const request = this.#request(OPERATION.addToStoreNar).string(this.storeDir.format(info.storePath));
    request.string(info.deriver === undefined ? '' : this.storeDir.format(info.deriver));
    request.string(info.narHash.format('base16', { prefix: false })).strings(this.#format(info.references));
    const registrationTime = 0;
    request.number(registrationTime).number(info.narSize).number(false).strings(info.signatures);
    request.string(info.ca === undefined ? '' : formatContentAddress(info.ca));
    const repair = false;
    request.number(repair).number(!checkSignatures);
    await this.#pool.use((connection) => connection.upload(request, nar));
  }

  /** Everything that keeps paths from being deleted: by path, where it is. To users that it does not trust a daemon shows less. */
  async findRoots(): Promise<Map<StorePath, Set<string>>> {
    return this.#call(this.#request(OPERATION.findRoots), async (reader) => {
      const roots = new Map<StorePath, Set<string>>();
      for (let left = await reader.number(); left > 0; left--) {
        const place = await reader.string();
        const path = this.storeDir.parse(await reader.string());
        roots.set(path, (roots.get(path) ?? new Set()).add(place));
      }
      return roots;
    });
  }

  /**
   * Has the daemon collect garbage, or say what would be: full paths (also of what is no store path), and the bytes freed.
   * @throws `daemon-refused`, as for paths to delete that are alive
   */
  async collectGarbage({ action, paths = [], maxFreed }: DaemonCollection): Promise<DaemonCollected> {
    const number = ['live', 'dead', 'delete', 'delete-paths'].indexOf(action);
    const ignoreLiveness = false; // No daemon allows that.
    const request = this.#request(OPERATION.collectGarbage).number(number).strings(this.#format(paths));
    request.number(ignoreLiveness).number(maxFreed ?? 2n ** 64n - 1n);
    // Three fields without a meaning any more.
    request.number(0).number(0).number(0);
    return this.#call(request, async (reader) => {
      const collected = { paths: await reader.strings(), bytesFreed: await reader.number() };
      await reader.skipNumber();
      return collected;
    });
  }

  #request(operation: number): WireWriter {
    return new WireWriter().number(operation);
  }

  #format(paths: Iterable<StorePath>): string[] {
    return [...paths].map((path) => this.storeDir.format(path));
  }

  #call<Answer>(request: WireWriter, read: (reader: WireReader) => Promise<Answer>): Promise<Answer> {
    return this.#pool.use(async (connection) => {
      await connection.request(request);
      return connection.read(read);
    });
  }

  async #callForPaths(request: WireWriter): Promise<StorePath[]> {
    const paths = await this.#call(request, (reader) => reader.strings());
    return paths.map((path) => this.storeDir.parse(path));
  }

  async #readPathInfo(storePath: StorePath, reader: WireReader): Promise<ValidPathInfo> {
    const deriver = await reader.string();
    const narHash = parseHash(await reader.string(), 'sha256');
    const references = (await reader.strings()).map((path) => this.storeDir.parse(path)).sort();
    const registrationTime = await reader.number();
    const narSize = await reader.number();
    const ultimate = await reader.boolean();
    const signatures = await reader.strings();
    const ca = await reader.string();
    return {
      storePath,
      narHash,
      narSize,
      references,
      registrationTime,
      ultimate,
      signatures,
      ...(deriver === '' ? {} : { deriver: this.storeDir.parse(deriver) }),
      ...(ca === '' ? {} : { ca: parseContentAddress(ca) }),
    };
  }
}

/** Every path reached from `roots`, a generation at a time: the daemon answers several requests at once. */
async function walk(
  roots: Iterable<StorePath>,
  next: (path: StorePath) => Promise<readonly StorePath[]>,
): Promise<ReadonlySet<StorePath>> {
  const seen = new Set(roots);
  let generation = [...seen];
  while (generation.length > 0) {
    const reached = (await Promise.all(generation.map(next))).flat();
    generation = [...new Set(reached)].filter((path) => !seen.has(path));
    for (const path of generation) seen.add(path);
  }
  return seen;
}
