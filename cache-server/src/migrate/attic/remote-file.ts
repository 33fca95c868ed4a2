import { z } from 'zod';

/** Where attic put a chunk, as its database says: the JSON of `RemoteFile` in attic's `server/src/storage/`. */
export type RemoteFile =
  | { readonly kind: 'local'; readonly name: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly key: string }
  | { readonly kind: 'http'; readonly url: string };

const schema = z.union([
  z.strictObject({ Local: z.object({ name: z.string().min(1) }) }),
  z.strictObject({ S3: z.object({ bucket: z.string(), key: z.string().min(1) }) }),
  z.strictObject({ Http: z.object({ url: z.string() }) }),
]);

/** @returns `undefined` for what is no such thing */
export function parseRemoteFile(text: string): RemoteFile | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { success, data } = schema.safeParse(json);
  if (!success) return undefined;
  if ('Local' in data) return { kind: 'local', ...data.Local };
  if ('S3' in data) return { kind: 's3', ...data.S3 };
  return { kind: 'http', ...data.Http };
}

/** For messages. */
export function describeRemoteFile(file: RemoteFile): string {
  if (file.kind === 'local') return file.name;
  return file.kind === 's3' ? `s3://${file.bucket}/${file.key}` : file.url;
}

/** The storage of an attic server, to read. */
export interface ChunkFiles {
  /** @throws `cache-file-missing`; `cache-unreachable` when nothing else can be read either */
  open(file: RemoteFile): AsyncIterable<Uint8Array>;
}
