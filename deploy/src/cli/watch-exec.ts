import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StorePath } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { createPathFilter, type PathFilterOptions } from '@larder/substituter/store-watch/path-filter';
import { StoreChanges } from '@larder/substituter/store-watch/store-changes';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { createVerb } from './command.js';
import { addPublishOptions, type PublishOptions, pushTarget, requireCache } from './push-options.js';
import { openQueueTarget, openStore } from './queue-target.js';
import { addFilterOptions } from './watch-store.js';

interface WatchOptions extends ClientOptions, PublishOptions, PathFilterOptions {
  readonly requirePush?: boolean;
}

/** Tries to push what a command left, and the pause between them in milliseconds. */
const attempts = 3;
const pause = 2_000;

export function createCommand(): Command {
  const watch = createVerb('watch-exec', {
    summary:
      "Run a command and publish every path that becomes valid while it runs; the exit status is the command's own.",
    examples: [
      [
        'larder watch-exec https://cache.example.org/main -- nix-build -A hello',
        'publish all that this builds',
      ],
    ],
  })
    .argument('<cache>', 'where to publish')
    .argument('<command...>', 'what to run, after --')
    .option(
      '--require-push',
      'exit with status 1 when the command succeeds and its paths cannot be published',
    );
  return addPublishOptions(addFilterOptions(addClientOptions(watch))).action(runWatch);
}

async function runWatch(cache: string, command: string[], options: WatchOptions): Promise<void> {
  requireCache(cache);
  const matches = createPathFilter(options);
  const [program = '', ...args] = command;
  // Interrupts are for the command; we end when it does.
  const ignore = (): void => {};
  process.on('SIGINT', ignore).on('SIGTERM', ignore);
  await using session = await ClientSession.open(options);
  const store = await openStore(options.store, session);
  try {
    const fresh = await observe(store);
    const ended = new AbortController();
    const pusher = await openQueueTarget(pushTarget(cache, options), new AbortController().signal);
    await using _ = pusher;
    const running = spawn(program, args, { stdio: 'inherit' });
    const status = waitFor(running).finally(() => ended.abort());
    const failed = new Set<StorePath>();
    const push = async (paths: readonly StorePath[]): Promise<void> => {
      if (paths.length === 0) return;
      try {
        await pusher.push(paths);
      } catch (error) {
        for (const path of paths) failed.add(path);
        note(`cannot publish ${paths.length} paths yet: ${(error as Error).message}`);
      }
    };
    for await (const paths of fresh(ended.signal)) await push(paths.filter(matches));
    for (let tries = 1; failed.size > 0 && tries < attempts; tries++) {
      await sleep(pause);
      const again = [...failed];
      failed.clear();
      await push(again);
    }
    process.exitCode = await status;
    if (failed.size === 0) return;
    note(`${failed.size} paths were not published to ${cache}`);
    if (options.requirePush === true && process.exitCode === 0) process.exitCode = 1;
  } finally {
    await store.close();
    process.off('SIGINT', ignore).off('SIGTERM', ignore);
  }
}

type Fresh = (ended: AbortSignal) => AsyncGenerator<readonly StorePath[], void, undefined>;

/** What becomes valid from now on: from the database as it comes, through Nix's daemon all at the end. */
async function observe(store: LocalStore | DaemonStore): Promise<Fresh> {
  if (store instanceof LocalStore) {
    const changes = new StoreChanges(store);
    return async function* (ended) {
      for await (const { paths } of changes.watch(ended)) yield paths;
      yield changes.take();
    };
  }
  const before = new Set(await store.queryAllValidPaths());
  return async function* (ended) {
    if (!ended.aborted)
      await new Promise((resolve) => ended.addEventListener('abort', resolve, { once: true }));
    yield (await store.queryAllValidPaths()).filter((path) => !before.has(path));
  };
}

/** Its exit status, as a shell would give it. */
function waitFor(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      note(`cannot run the command: ${error.message}`);
      resolve(error.code === 'ENOENT' ? 127 : 126);
    });
    child.on('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
