import { type Compression, sniffCompression } from '@larder/signing/compression';

/** Bytes that tell every compression with a mark. */
const HEAD_SIZE = 16;

/** The first byte of what Nix writes as lzma, which has no mark; a NAR starts with another. */
const LZMA_PROPERTIES = 0x5d;

/**
 * Tells by its first bytes how an upload named plain `<hash>.nar` is compressed: Nix 2.8 has an ending for few
 * compressions only, and sends gzip, lzma, lzip and lz4 without one, before the narinfo that could tell.
 */
export async function sniffUpload(
  body: AsyncIterable<Uint8Array>,
): Promise<{ readonly compression: Compression; readonly body: AsyncIterable<Uint8Array> }> {
  const rest = body[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < HEAD_SIZE) {
    const next = await rest.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  const unmarked = head[0] === LZMA_PROPERTIES ? 'lzma' : 'none';
  return { compression: sniffCompression(head) ?? unmarked, body: prepend(head, rest) };
}

async function* prepend(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (head.length > 0) yield head;
  yield* { [Symbol.asyncIterator]: () => rest };
}
