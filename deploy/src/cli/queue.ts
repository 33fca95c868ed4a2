import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import { PushQueue, type QueueSummary } from '@larder/substituter/push-queue/push-queue';
import { QueueWorker } from '@larder/substituter/push-queue/queue-worker';
import { WorkerLock } from '@larder/substituter/push-queue/worker-lock';
import type { Command } from 'commander';
import { readCliEnvironment } from '../config.js';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { addPublishOptions, type PublishOptions, pushTarget, requireCache } from './push-options.js';
import { defaultQueueFile } from './queue-file.js';
import { openQueueTarget, openStore } from './queue-target.js';
import { formatDuration } from './units.js';

interface QueueOptions {
  readonly queue?: string;
}

export function createCommand(): Command {
  const queue = createVerb('queue', {
    summary: 'Look after what waits to be pushed: see it, push it, add to it.',
    examples: [
      ['larder queue status', 'what waits, and why it still does'],
      ['larder queue flush', 'push everything now; for the end of a CI run'],
    ],
  });
  return queue
    .addCommand(statusCommand())
    .addCommand(flushCommand())
    .addCommand(runCommand())
    .addCommand(addCommand());
}

function openQueue({ queue }: QueueOptions): PushQueue {
  return PushQueue.open(queue ?? defaultQueueFile(readCliEnvironment().variables));
}

function withQueue(command: Command): Command {
  return command.option('--queue <file>', 'the queue; LARDER_QUEUE and a place of its own without it');
}

function statusCommand(): Command {
  const status = createVerb('status', {
    summary: 'Print what waits for each cache, since when, and what went wrong.',
    examples: [['larder queue status --json', 'the same for programs']],
  }).option('--json', 'print JSON');
  return withQueue(status).action((options: QueueOptions & { json?: boolean }) => {
    const queue = openQueue(options);
    try {
      const summaries = queue.summaries();
      const lock = WorkerLock.tryTake(queue.file);
      lock?.release();
      const running = lock === undefined;
      if (options.json === true) {
        process.stdout.write(
          `${JSON.stringify({ file: queue.file, running, waiting: queue.size, targets: summaries })}\n`,
        );
        return;
      }
      process.stdout.write(`${queue.size} paths wait; ${running ? 'a worker runs' : 'no worker runs'}\n`);
      for (const summary of summaries) process.stdout.write(`${describe(summary)}\n`);
    } finally {
      queue.close();
    }
  });
}

function describe({ target, waiting, failing, oldest, due, error }: QueueSummary): string {
  const age = formatDuration((Date.now() - oldest) / 1000);
  const lines = [`${target.cache}: ${waiting} paths, the oldest for ${age}`];
  if (failing > 0) {
    const next = due <= Date.now() ? 'now' : `in ${formatDuration((due - Date.now()) / 1000)}`;
    lines.push(`  ${failing} of them failed, the next try is ${next}: ${error}`);
  }
  return lines.join('\n');
}

function flushCommand(): Command {
  const flush = createVerb('flush', {
    summary:
      'Push everything that waits now, and return once it is through; fails when some of it cannot be pushed.',
    examples: [['larder queue flush --attempts 3', 'give up after three failures of each']],
  }).option('--attempts <number>', 'how often each is tried', '5');
  return withQueue(flush).action(runFlush);
}

async function runFlush(options: QueueOptions & { attempts: string }): Promise<void> {
  const attempts = parseCount(options.attempts, '--attempts');
  const queue = openQueue(options);
  try {
    await using session = await ClientSession.open({});
    const { signal } = session;
    let empty: boolean;
    const lock = WorkerLock.tryTake(queue.file);
    if (lock !== undefined) {
      try {
        empty = await createWorker(queue, signal).flush(attempts);
      } finally {
        lock.release();
      }
    } else empty = await waitForWorker(queue, { attempts, signal });
    if (empty) return;
    const errors = queue.summaries().map(({ target, error }) => `${target.cache}: ${error}`);
    throw new LarderError(
      'push-failed',
      `${queue.size} paths could not be pushed and still wait: ${errors.join('; ')}`,
    );
  } finally {
    queue.close();
  }
}

/** Has a worker in another process do it. */
async function waitForWorker(
  queue: PushQueue,
  { attempts, signal }: { readonly attempts: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const before = queue.attempts();
  for (;;) {
    const lock = WorkerLock.tryTake(queue.file);
    if (lock !== undefined) {
      // It has gone: it is for us then.
      try {
        return await createWorker(queue, signal).flush(attempts);
      } finally {
        lock.release();
      }
    }
    const left = queue.attempts();
    if (left.size === 0) return true;
    if ([...left].every(([id, now]) => now - (before.get(id) ?? 0) >= attempts)) return false;
    queue.hurry();
    await sleep(200, undefined, { signal });
  }
}

function runCommand(): Command {
  const run = createVerb('run', {
    summary: 'Push what waits, and what comes, until it is stopped.',
    examples: [
      ['larder queue run', 'in the foreground, for a service manager'],
      ['larder queue run --linger 0', 'until nothing waits any more'],
    ],
  }).option('--linger <seconds>', 'end once the queue was empty for so long');
  return withQueue(run).action(runWorker);
}

/** Works the queue off; returns at once where another process does. */
export async function runWorker(options: QueueOptions & { readonly linger?: string }): Promise<void> {
  const linger = options.linger === undefined ? undefined : parseCount(options.linger, '--linger') * 1000;
  const queue = openQueue(options);
  try {
    await using session = await ClientSession.open({});
    const lock = WorkerLock.tryTake(queue.file);
    if (lock === undefined) {
      note('another process works this queue off already');
      return;
    }
    try {
      queue.noteWorker(process.pid);
      await createWorker(queue, session.signal).run({ linger });
    } finally {
      lock.release();
    }
  } finally {
    queue.close();
  }
}

function createWorker(queue: PushQueue, signal: AbortSignal): QueueWorker {
  return new QueueWorker({
    queue,
    openTarget: (target) => openQueueTarget(target, signal),
    onNote: note,
    signal,
  });
}

function addCommand(): Command {
  const add = createVerb('add', {
    summary: 'Queue paths for a cache.',
    examples: [
      ['larder queue add https://cache.example.org/main ./result', 'push it when the worker gets to it'],
    ],
  })
    .argument('<cache>', 'where to publish')
    .argument('<path...>', 'store paths, their hash parts, or links to them');
  return addPublishOptions(addClientOptions(withQueue(add))).action(runAdd);
}

async function runAdd(
  cache: string,
  texts: string[],
  options: QueueOptions & ClientOptions & PublishOptions,
): Promise<void> {
  requireCache(cache);
  await using session = await ClientSession.open(options);
  const store = await openStore(options.store, session);
  const queue = openQueue(options);
  try {
    const paths = await parsePathArguments(texts, {
      storeDir: store.storeDir,
      lookup: (hashPart) => store.queryPathFromHashPart(hashPart),
      signal: session.signal,
    });
    queue.add(pushTarget(cache, options), paths);
  } finally {
    queue.close();
    await store.close();
  }
}

function parseCount(text: string, option: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usageError(`${option} takes a whole number, not '${text}'`);
}
