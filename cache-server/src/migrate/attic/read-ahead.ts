/** A file that is one of many to be read one after the other. */
export interface PieceOfMany {
  /** Bytes, if that is known. */
  readonly size: number | undefined;
  open(): AsyncIterable<Uint8Array>;
}

/** Files of up to so many bytes are read whole, ahead of their turn: that hides the latency of each. */
const SMALL = 1024 * 1024;
/** So many of them at once. */
const AHEAD = 8;

/** The bytes of all, in their order. */
export async function* readAhead(files: readonly PieceOfMany[]): AsyncIterable<Uint8Array> {
  const ahead = new Map<number, Promise<readonly Uint8Array[]>>();
  let next = 0;
  for (const [index, file] of files.entries()) {
    for (; next < files.length && next < index + AHEAD; next++) {
      const each = files[next];
      if (each?.size === undefined || each.size > SMALL) continue;
      const reading = readWhole(each);
      // Its failure is met when its turn comes.
      reading.catch(() => undefined);
      ahead.set(next, reading);
    }
    const reading = ahead.get(index);
    ahead.delete(index);
    if (reading === undefined) yield* file.open();
    else yield* await reading;
  }
}

async function readWhole(file: PieceOfMany): Promise<readonly Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of file.open()) chunks.push(chunk);
  return chunks;
}
