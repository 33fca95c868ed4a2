import { decompress } from '@larder/signing/codec';
import type { Compression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { header } from './answer.js';
import type { HttpResponse } from './http-client.js';

/** Names of content codings (RFC 9110, and those that Nix uploads with), as our codecs are called. */
const codecs: Readonly<Record<string, Compression>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  br: 'br',
  zstd: 'zstd',
  xz: 'xz',
  bzip2: 'bzip2',
};

/**
 * The body without the coding it was sent in. Nix uploads narinfos, listings and logs in one when told to
 * (`narinfo-compression=`), and a server sends them as they were put.
 * @throws `cache-refused` for a coding we have no codec for
 */
export function decodeBody(response: HttpResponse, signal?: AbortSignal): AsyncIterable<Uint8Array> {
  const body = response.body as AsyncIterable<Uint8Array>;
  return decodeContent(body, header(response, 'content-encoding') ?? '', signal);
}

/** The same for bytes whose coding is known. @throws `cache-refused` */
export function decodeContent(
  body: AsyncIterable<Uint8Array>,
  coding: string,
  signal?: AbortSignal,
): AsyncIterable<Uint8Array> {
  const name = coding.trim().toLowerCase();
  if (name === 'identity' || name === '') return body;
  const codec = codecs[name];
  if (codec !== undefined) return decompress(body, codec, { signal });
  throw new LarderError('cache-refused', `a file came in the content coding "${name}", which is not known`);
}
