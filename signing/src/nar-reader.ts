import type { ByteString, NarLimits } from './nar-format.js';
import { type NarFileHeader, NarParser, type NarVisitor } from './nar-parser.js';

/** One step through an archive. The root's name is `''`; names and targets are byte strings. */
export type NarEvent =
  | { readonly type: 'directory'; readonly name: ByteString }
  | { readonly type: 'leave' }
  | ({ readonly type: 'file'; readonly name: ByteString } & NarFileHeader)
  | { readonly type: 'contents'; readonly chunk: Uint8Array }
  | { readonly type: 'end-file' }
  | { readonly type: 'symlink'; readonly name: ByteString; readonly target: ByteString };

/**
 * Reads an archive as events, strictly. A chunk of contents is valid until the next event is asked for.
 * @throws `nar-malformed`, at the event where the fault is
 */
export async function* readNar(
  source: AsyncIterable<Uint8Array>,
  limits: Partial<NarLimits> = {},
): AsyncGenerator<NarEvent, void, undefined> {
  const collector = new EventCollector();
  const parser = new NarParser(collector, limits);
  for await (const chunk of source) {
    parser.write(chunk);
    yield* collector.take();
  }
  parser.end();
}

/** Sends an archive through any number of visitors. Gives its size in bytes. @throws `nar-malformed` */
export async function visitNar(
  source: AsyncIterable<Uint8Array>,
  ...visitors: readonly NarVisitor[]
): Promise<number> {
  const parser = new NarParser(visitors.length === 1 ? visitors[0]! : broadcast(visitors));
  for await (const chunk of source) parser.write(chunk);
  parser.end();
  return parser.offset;
}

/** One visitor that calls several, in order. */
export function broadcast(visitors: readonly NarVisitor[]): NarVisitor {
  const each = (call: (visitor: NarVisitor) => void): void => {
    for (const visitor of visitors) call(visitor);
  };
  return {
    enterDirectory: (name) => each((visitor) => visitor.enterDirectory(name)),
    leaveDirectory: () => each((visitor) => visitor.leaveDirectory()),
    beginFile: (name, header) => each((visitor) => visitor.beginFile(name, header)),
    contents: (chunk) => each((visitor) => visitor.contents(chunk)),
    endFile: () => each((visitor) => visitor.endFile()),
    symlink: (name, target) => each((visitor) => visitor.symlink(name, target)),
  };
}

class EventCollector implements NarVisitor {
  #events: NarEvent[] = [];

  take(): NarEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  enterDirectory(name: ByteString): void {
    this.#events.push({ type: 'directory', name });
  }

  leaveDirectory(): void {
    this.#events.push({ type: 'leave' });
  }

  beginFile(name: ByteString, header: NarFileHeader): void {
    this.#events.push({ type: 'file', name, ...header });
  }

  contents(chunk: Uint8Array): void {
    this.#events.push({ type: 'contents', chunk });
  }

  endFile(): void {
    this.#events.push({ type: 'end-file' });
  }

  symlink(name: ByteString, target: ByteString): void {
    this.#events.push({ type: 'symlink', name, target });
  }
}
