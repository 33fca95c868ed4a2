import { decompress } from '@larder/signing/codec';
import { type ByteString, fromByteString } from '@larder/signing/nar-format';
import { readNar } from '@larder/signing/nar-reader';
import { HASH_PART_LENGTH, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import type { PathSource } from '../store.js';

/** A file that mentions a path. */
export interface Mention {
  /** Inside the path that was read: `/bin/hello`. */
  readonly file: string;
  /** The hash part with what stands around it, unprintable bytes as dots; for a link, `-> ` and its target. */
  readonly excerpt: string;
}

/** Bytes shown on either side. */
const MARGIN = 32;

/**
 * Which files of `path` mention which of the other paths, each file once a path. Reads the whole NAR, a chunk at a
 * time.
 * @throws what reading the path throws
 */
export async function findMentions(
  path: StorePath,
  others: readonly StorePath[],
  { source, signal }: { readonly source: PathSource; readonly signal?: AbortSignal },
): Promise<Map<StorePath, Mention[]>> {
  const found = new Map<StorePath, Mention[]>(others.map((other) => [other, []]));
  const info = await source.queryPathInfo(path, { signal });
  if (info === undefined) return found;
  const { compression, bytes } = source.openPacked(info, { signal });
  const names: ByteString[] = [];
  let file: FileSearch | undefined;
  for await (const event of readNar(decompress(bytes, compression))) {
    const here = (name: ByteString): string => fromByteString([...names, name].slice(1).join('/'));
    if (event.type === 'directory') names.push(event.name);
    else if (event.type === 'leave') names.pop();
    else if (event.type === 'file') file = new FileSearch(`/${here(event.name)}`, found);
    else if (event.type === 'contents') file?.write(event.chunk);
    else if (event.type === 'end-file') file?.end();
    else {
      const target = fromByteString(event.target);
      for (const [other, mentions] of found) {
        if (!target.includes(storePathHashPart(other))) continue;
        mentions.push({ file: `/${here(event.name)}`, excerpt: `-> ${target}` });
      }
    }
  }
  return found;
}

/** Looks through one file's bytes for the first mention of each path. */
class FileSearch {
  readonly #file: string;
  readonly #found: Map<StorePath, Mention[]>;
  readonly #open: Set<StorePath>;
  /** What may hold the beginning of a mention, or belongs before one. */
  #tail = Buffer.alloc(0);

  constructor(file: string, found: Map<StorePath, Mention[]>) {
    this.#file = file;
    this.#found = found;
    this.#open = new Set(found.keys());
  }

  write(chunk: Uint8Array): void {
    if (this.#open.size === 0) return;
    const text = Buffer.concat([this.#tail, chunk]);
    // What comes after a mention is still to come when it stands at the end: the next chunk finds it then.
    this.#search(text, text.length - MARGIN);
    this.#tail = Buffer.from(text.subarray(-(HASH_PART_LENGTH + 2 * MARGIN)));
  }

  end(): void {
    this.#search(this.#tail, this.#tail.length);
  }

  #search(text: Buffer, limit: number): void {
    for (const other of this.#open) {
      const at = text.indexOf(storePathHashPart(other), 0, 'latin1');
      if (at < 0 || at + HASH_PART_LENGTH > limit) continue;
      this.#open.delete(other);
      const around = text.toString('latin1', Math.max(0, at - MARGIN), at + HASH_PART_LENGTH + MARGIN);
      this.#found.get(other)!.push({ file: this.#file, excerpt: `…${around.replace(/[^ -~]/g, '.')}…` });
    }
  }
}
