import type { ObjectStorage } from '../storage/storage.js';

/** The beginning of an object. */
export interface ReadObject {
  readonly bytes: Buffer;
  /** Bytes of the whole. */
  readonly size: number;
}

/** Reads an object up to a limit, or from its end. `undefined` when there is none. */
export async function readObject(
  storage: ObjectStorage,
  key: string,
  { limit, fromEnd = false }: { readonly limit: number; readonly fromEnd?: boolean },
): Promise<ReadObject | undefined> {
  const info = await storage.head(key);
  if (info === undefined) return undefined;
  const start = fromEnd ? Math.max(0, info.size - limit) : 0;
  const end = Math.min(info.size, start + limit) - 1;
  if (end < start) return { bytes: Buffer.alloc(0), size: info.size };
  await using object = await storage.get(key, { range: { start, end } });
  if (object === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of object.body) chunks.push(chunk);
  return { bytes: Buffer.concat(chunks), size: info.size };
}
