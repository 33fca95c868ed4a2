import { homedir } from 'node:os';

/**
 * Where paths wait to be pushed: `LARDER_QUEUE`, else one file for the machine's root and one for each other user. It lasts
 * across restarts, unlike caches.
 */
export function defaultQueueFile(
  environment: Readonly<Record<string, string | undefined>>,
  uid: number | undefined = process.geteuid?.(),
): string {
  const given = environment.LARDER_QUEUE;
  if (given !== undefined && given !== '') return given;
  if (uid === 0) return '/var/lib/larder/push-queue.sqlite';
  const home = environment.XDG_STATE_HOME || `${environment.HOME ?? homedir()}/.local/state`;
  return `${home}/larder/push-queue.sqlite`;
}
