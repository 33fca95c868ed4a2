import type { Verdict } from '@larder/substituter/care/verify-paths';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { createBuildProgress } from './build-progress.js';
import { type ClientOptions, type ClientSession, note } from './client-session.js';
import { openBuilder } from './session-builder.js';

export interface RepairJob {
  readonly store: LocalStore;
  readonly options: ClientOptions & { readonly quiet?: boolean };
  /** Its settings name the caches to repair from. */
  readonly session: ClientSession;
}

/**
 * Repairs paths, from a cache or by building their derivers again, and gives those that are still wrong. A missing signature
 * is nothing to repair.
 */
export async function repairFaulty(
  faulty: readonly Verdict[],
  { store, options, session }: RepairJob,
): Promise<Verdict[]> {
  const damaged = faulty.filter(({ faults }) => faults.some((fault) => fault !== 'untrusted'));
  const left = faulty.filter((verdict) => !damaged.includes(verdict));
  if (damaged.length === 0) return left;
  const progress = createBuildProgress('plain', store.storeDir);
  try {
    await using builder = await openBuilder(session, { store, options, progress });
    for (const verdict of damaged) {
      try {
        await builder.repairPath(verdict.path);
        note(`repaired ${verdict.path}`);
      } catch (error) {
        session.signal.throwIfAborted();
        note(`cannot repair ${verdict.path}: ${explain(error as Error)}`);
        left.push(verdict);
      }
    }
  } finally {
    progress.finish();
  }
  return left;
}

/** With what kept it from being fetched, where it could not be built either. */
function explain({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
