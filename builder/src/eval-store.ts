import { createHash } from 'node:crypto';
import { lstatSync, readFileSync } from 'node:fs';
import { makeContentAddressedPath, makeTextPath } from '@larder/signing/content-address';
import { computeHash, Hash } from '@larder/signing/hash';
import { dumpNar } from '@larder/signing/nar-writer';
import { parseStorePath, type StoreDir, type StorePath } from '@larder/signing/store-path';
import { byteTextToBuffer, fromByteText, toByteText } from './eval/byte-text.js';
import { NixError } from './eval/errors.js';
import type { FileType, OutputToRealise, PathToAdd } from './eval/host.js';

/** The store operations an evaluation that writes needs; bound to the local store by `instantiate.ts`. */
export interface StoreBackend {
  isValidPath(path: StorePath): boolean;
  queryReferences(path: StorePath): readonly StorePath[];
  /** Where a store path's files are on this machine. */
  realPath(path: StorePath): string;
  addText(path: StorePath, contents: Buffer, references: readonly StorePath[]): void;
  addTree(tree: TreeToAdd): void;
  ensurePath(path: StorePath): void;
  /** Waits until everything added is in the store. */
  flush(): void;
  realise(outputs: readonly OutputToRealise[]): readonly StorePath[];
}

/** A tree to add to the store. */
export interface TreeToAdd {
  readonly path: StorePath;
  readonly source: string;
  readonly method: 'flat' | 'recursive';
  readonly references: readonly StorePath[];
  /** The hash that names it, as `sha256:…`. */
  readonly hash: string;
  /** Size of its NAR; zero if that was not computed. */
  readonly narSize: number;
  /** What a filter kept, by full path; undefined if everything goes in. */
  readonly kept: ReadonlySet<string> | undefined;
}

type KeepEntry = ((path: string) => boolean) | undefined;

function typeAt(path: string): FileType {
  const stat = lstatSync(path);
  if (stat.isFile()) return 'regular';
  if (stat.isDirectory()) return 'directory';
  return stat.isSymbolicLink() ? 'symlink' : 'unknown';
}

/** The hash of a NAR and its size, or the hash of a plain file. */
function hashTree(
  path: string,
  method: 'flat' | 'recursive',
  filter: KeepEntry,
): { hash: Hash; narSize: number } {
  if (method === 'flat') return { hash: computeHash('sha256', readFileSync(path)), narSize: 0 };
  let narSize = 0;
  const hash = createHash('sha256');
  for (const chunk of dumpNar(path, filter === undefined ? {} : { filter })) {
    hash.update(chunk);
    narSize += chunk.length;
  }
  return { hash: new Hash('sha256', hash.digest()), narSize };
}

/**
 * What an evaluation sees of the store: what is valid in it, and what the evaluation itself made, which a
 * read-only evaluation does not write.
 */
export class EvalStore {
  readonly storeDir: StoreDir;
  private readonly backend: StoreBackend;
  private readonly texts = new Map<string, { contents: string; references: readonly string[] }>();
  private readonly validPaths = new Set<string>();

  constructor(storeDir: StoreDir, backend: StoreBackend) {
    this.storeDir = storeDir;
    this.backend = backend;
  }

  isValidPath(path: string): boolean {
    if (this.validPaths.has(path)) return true;
    const valid = this.backend.isValidPath(parseStorePath(path));
    if (valid) this.validPaths.add(path);
    return valid;
  }

  queryReferences(path: string): readonly string[] {
    return this.texts.get(path)?.references ?? this.backend.queryReferences(parseStorePath(path));
  }

  queryClosure(path: string): readonly string[] {
    const seen = new Set<string>([path]);
    for (const each of seen) for (const reference of this.queryReferences(each)) seen.add(reference);
    return [...seen].sort();
  }

  readDerivation(path: string): string {
    const text = this.texts.get(path);
    if (text !== undefined) return text.contents;
    if (!this.isValidPath(path)) {
      throw new NixError('other', `path '${this.storeDir.format(parseStorePath(path))}' is not valid`);
    }
    return readFileSync(this.backend.realPath(parseStorePath(path)), 'latin1');
  }

  addText(name: string, contents: string, references: readonly string[], dryRun: boolean): string {
    const bytes = byteTextToBuffer(contents);
    const refs = [...references].sort() as StorePath[];
    const path = makeTextPath(this.storeDir, fromByteText(name), {
      hash: computeHash('sha256', bytes),
      references: refs,
    });
    if (dryRun || path.endsWith('.drv')) this.texts.set(path, { contents, references: refs });
    if (!dryRun && !this.validPaths.has(path)) {
      this.backend.addText(path, bytes, refs);
      this.validPaths.add(path);
    }
    return path;
  }

  addPath(request: PathToAdd): string {
    const logical = fromByteText(request.path);
    const source = this.#realPlace(logical);
    const { filter } = request;
    const kept = filter === undefined ? undefined : new Set<string>();
    const keep =
      filter === undefined
        ? undefined
        : (path: string): boolean => {
            const wanted = filter(toByteText(logical + path.slice(source.length)), typeAt(path));
            if (wanted) kept!.add(path);
            return wanted;
          };
    let hashed: { hash: Hash; narSize: number };
    try {
      hashed = hashTree(source, request.method, keep);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new NixError('other', `path '${request.path}' does not exist`);
      }
      throw error;
    }
    const references = [...(request.references ?? [])] as StorePath[];
    const { hash, narSize } = hashed;
    const name = fromByteText(request.name);
    const path = makeContentAddressedPath(this.storeDir, name, {
      method: request.method,
      hash,
      references,
    });
    if (!request.dryRun && !this.validPaths.has(path)) {
      const { method } = request;
      this.backend.addTree({ path, source, method, references, hash: hash.toString(), narSize, kept });
      this.validPaths.add(path);
    }
    return path;
  }

  /** Where a path is on this machine: what lies in a store that was moved is elsewhere. */
  #realPlace(path: string): string {
    const [name, ...below] = path.startsWith(`${this.storeDir.path}/`)
      ? path.slice(this.storeDir.path.length + 1).split('/')
      : [];
    // What is no store path by its name is in no store.
    if (name === undefined || !/^[0-9a-z]{32}-/.test(name)) return path;
    return [this.backend.realPath(parseStorePath(name)), ...below].join('/');
  }

  /** Waits until what was added can be read. */
  settle(): void {
    this.backend.flush();
  }

  ensurePath(path: string): void {
    if (!this.isValidPath(path)) this.backend.ensurePath(parseStorePath(path));
  }

  realise(outputs: readonly OutputToRealise[]): readonly string[] {
    return this.backend.realise(outputs);
  }
}
