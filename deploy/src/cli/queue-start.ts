import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { PushQueue } from '@larder/substituter/push-queue/push-queue';

/** So many seconds a worker that started by itself waits for more before it ends. */
const linger = 20;

/**
 * Starts a worker for a queue unless `worker`, the process that said last that it is one, still is. It has a session of its
 * own and holds none of our pipes, so that whoever waits for us does not wait for it. What it has to say goes to
 * `<queue>.log`.
 */
export function startWorker(queue: PushQueue, worker: number | undefined): void {
  if (worker !== undefined && isWorker(worker)) return;
  const executable = fileURLToPath(new URL('../../bin/larder.js', import.meta.url));
  const log = openSync(`${queue.file}.log`, 'a', 0o600);
  try {
    const args = [executable, 'queue', 'run', '--queue', queue.file, '--linger', String(linger)];
    const child = spawn(process.execPath, args, { detached: true, cwd: '/', stdio: ['ignore', log, log] });
    child.on('error', () => {}); // The next build, or a worker somebody starts, gets to it.
    child.unref();
    // Noted at once: of many hooks one starts a worker. More than one would do no harm, they have a lock.
    if (child.pid !== undefined) queue.noteWorker(child.pid);
  } finally {
    closeSync(log);
  }
}

/** Process numbers are used again, so it must also look like one. */
function isWorker(pid: number): boolean {
  try {
    return /\0(queue|watch-store|post-build-hook)\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
  } catch {
    return false;
  }
}
