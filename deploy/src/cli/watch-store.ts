import { LocalStore } from '@larder/substituter/local-store/local-store';
import { PushQueue } from '@larder/substituter/push-queue/push-queue';
import type { PushTarget } from '@larder/substituter/push-queue/push-target';
import { QueueWorker } from '@larder/substituter/push-queue/queue-worker';
import { WorkerLock } from '@larder/substituter/push-queue/worker-lock';
import { createPathFilter, type PathFilterOptions } from '@larder/substituter/store-watch/path-filter';
import { StoreChanges } from '@larder/substituter/store-watch/store-changes';
import type { Command } from 'commander';
import { readCliEnvironment } from '../config.js';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { addPublishOptions, type PublishOptions, pushTarget, requireCache } from './push-options.js';
import { defaultQueueFile } from './queue-file.js';
import { openQueueTarget, openStore } from './queue-target.js';

interface WatchOptions extends ClientOptions, PublishOptions, PathFilterOptions {
  readonly queue?: string;
  readonly all?: boolean;
}

export function createCommand(): Command {
  const watch = createVerb('watch-store', {
    summary:
      'Publish whatever becomes valid in a store, whoever builds or fetches it, until it is stopped. The next run goes on where this one ended.',
    examples: [
      [
        'larder watch-store https://cache.example.org/main --token-file /etc/larder/token',
        'publish what comes',
      ],
      [
        "larder watch-store file:///srv/cache --all --exclude '-source$'",
        'also what is there already, but no sources',
      ],
    ],
  })
    .argument('<cache>', 'where to publish')
    .option('--queue <file>', 'where what waits is kept; LARDER_QUEUE and a place of its own without it')
    .option('--all', 'begin with all the store has, unless an earlier run has done so');
  return addPublishOptions(addFilterOptions(addClientOptions(watch))).action(runWatch);
}

export function addFilterOptions(command: Command): Command {
  return command
    .option('--include <expression>', 'only paths whose HASH-NAME this regular expression matches', collect)
    .option('--exclude <expression>', 'no paths whose HASH-NAME this regular expression matches', collect)
    .option('--derivations', 'derivations too');
}

async function runWatch(cache: string, options: WatchOptions): Promise<void> {
  requireCache(cache);
  const matches = createPathFilter(options);
  await using session = await ClientSession.open(options);
  const store = await openStore(options.store, session);
  const queue = PushQueue.open(options.queue ?? defaultQueueFile(readCliEnvironment().variables));
  try {
    if (!(store instanceof LocalStore)) {
      throw usageError("only who may read the store's database can watch it: run this as root");
    }
    const target = pushTarget(cache, options);
    const changes = resume(store, queue, { target, all: options.all === true });
    note(`watching ${store.uri} for ${cache}`);
    const { signal } = session;
    const pushing = pushQueued(queue, signal);
    for await (const { paths, position } of changes.watch(signal)) {
      queue.addWatched(watchName(target), { target, paths: paths.filter(matches), position });
    }
    await pushing;
  } finally {
    queue.close();
    await store.close();
  }
}

function watchName(target: PushTarget): string {
  return `${target.store} ${target.cache}`;
}

/** Where an earlier run ended; a position beyond the store's last is that of another store in its place. */
function resume(
  store: LocalStore,
  queue: PushQueue,
  { target, all }: { readonly target: PushTarget; readonly all: boolean },
): StoreChanges {
  const known = queue.position(watchName(target));
  if (known !== undefined && known <= store.lastPosition) return new StoreChanges(store, known);
  const position = all ? 0 : store.lastPosition;
  // From here on this is where a next run goes on, also if this one ends before anything comes.
  queue.addWatched(watchName(target), { target, paths: [], position });
  return new StoreChanges(store, position);
}

/** Works the queue off, unless another process does. */
async function pushQueued(queue: PushQueue, signal: AbortSignal): Promise<void> {
  const lock = WorkerLock.tryTake(queue.file);
  if (lock === undefined) {
    note('another process works the queue off');
    return;
  }
  try {
    const openTarget = (target: PushTarget) => openQueueTarget(target, signal);
    await new QueueWorker({ queue, openTarget, onNote: note, signal }).run();
  } finally {
    lock.release();
  }
}
