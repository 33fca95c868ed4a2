import type { ReadyPath } from './publisher.js';
import { otherReferences } from './references.js';

/** Writes to the storage at once: enough to hide S3's latency. */
const CONCURRENCY = 16;

/**
 * Runs `write` for every path, each after those it refers to, many at a time. The first error stops the rest.
 * @param paths references first
 */
export async function writeInOrder(
  paths: readonly ReadyPath[],
  write: (path: ReadyPath) => Promise<void>,
): Promise<void> {
  const writing = new Map<string, Promise<void>>();
  const running = new Set<Promise<void>>();
  for (const path of paths) {
    while (running.size >= CONCURRENCY) await Promise.race(running);
    const before = otherReferences(path.draft).flatMap((reference) => writing.get(reference) ?? []);
    const done = Promise.all(before).then(() => write(path));
    writing.set(path.draft.storePath, done);
    const slot = done.finally(() => running.delete(slot));
    // The rejection is thrown below, where all are awaited; a slot alone must not be an unhandled one.
    slot.catch(() => undefined);
    running.add(slot);
  }
  await Promise.all(writing.values());
}
