import { readlinkSync, realpathSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { isHashPart, parseStorePath, type StoreDir, type StorePath } from '@larder/signing/store-path';
import type { ReadOptions } from '@larder/substituter/store';
import { usageError } from './command.js';

/** Finds the path with a hash part; stores and sets of them do. */
export type HashPartLookup = (hashPart: string, options: ReadOptions) => Promise<StorePath | undefined>;

export interface ArgumentContext {
  readonly storeDir: StoreDir;
  readonly lookup: HashPartLookup;
  readonly signal: AbortSignal;
}

/**
 * Store paths as people give them: the full path, something in it, its base name, its hash part alone, or a
 * symbolic link that leads to it (`./result`).
 * @throws `usage` for anything else
 */
export async function parsePathArguments(
  texts: readonly string[],
  context: ArgumentContext,
): Promise<StorePath[]> {
  return Promise.all(texts.map((text) => parsePathArgument(text, context)));
}

async function parsePathArgument(
  text: string,
  { storeDir, lookup, signal }: ArgumentContext,
): Promise<StorePath> {
  if (text.startsWith(`${storeDir.path}/`)) return storeDir.parseWithin(text).storePath;
  if (isHashPart(text)) {
    const found = await lookup(text, { signal });
    if (found !== undefined) return found;
    throw usageError(`no path with the hash part ${text} is known`);
  }
  if (!text.includes('/') && /^[0-9a-z]{32}-/.test(text)) return parseStorePath(text);
  const target = followLinks(text, storeDir);
  if (target !== undefined) return storeDir.parseWithin(target).storePath;
  throw usageError(`'${text}' is not a path in ${storeDir.path}, nor a link to one`);
}

/** Follows links until one points into the store, which need not be there under that name (`local?root=`). */
function followLinks(text: string, storeDir: StoreDir): string | undefined {
  let path = resolve(text);
  for (let hops = 0; hops < 40; hops++) {
    if (path.startsWith(`${storeDir.path}/`)) return path;
    try {
      const target = readlinkSync(path);
      path = isAbsolute(target) ? target : resolve(path, '..', target);
    } catch {
      break;
    }
  }
  try {
    const real = realpathSync(text);
    return real.startsWith(`${storeDir.path}/`) ? real : undefined;
  } catch {
    return undefined;
  }
}
