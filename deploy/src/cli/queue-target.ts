import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import type { Destination } from '@larder/substituter/copy/destination';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import { pushPaths } from '@larder/substituter/publish/push-paths';
import type { PushTarget } from '@larder/substituter/push-queue/push-target';
import { QueueRoots } from '@larder/substituter/push-queue/queue-roots';
import type { TargetPusher } from '@larder/substituter/push-queue/queue-worker';
import { ClientSession, note } from './client-session.js';
import { usageError } from './command.js';
import { openPublisher, openUpstreams, type PublishOptions, parseJobs } from './push-options.js';

/** What a queue's worker pushes with: a session of its own, since each target may have its own login. */
export async function openQueueTarget(target: PushTarget, signal: AbortSignal): Promise<TargetPusher> {
  const options: PublishOptions = {
    store: target.store,
    secretKeyFile: target.secretKeyFiles,
    upstream: target.upstreams,
    upstreamKey: target.upstreamKeys,
  };
  const session = await ClientSession.open(target);
  const opened: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const each of opened.reverse()) await each.close();
    await session[Symbol.asyncDispose]();
  };
  try {
    const source = await openStore(target.store, session);
    opened.push(source);
    const destination = await openPublisher(target.cache, options, session);
    opened.push(destination);
    return makePusher({ target, options, session, source, destination, signal, close });
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens a store that watches and queues can be about. @throws `usage` for a cache */
export async function openStore(uri: string, session: ClientSession): Promise<LocalStore | DaemonStore> {
  const store = await openSource(uri, session.context);
  if (!(store instanceof BinaryCache)) return store;
  await store.close();
  throw usageError(`'${uri}' is not a store on this machine`);
}

interface OpenTarget {
  readonly target: PushTarget;
  readonly options: PublishOptions;
  readonly session: ClientSession;
  readonly source: LocalStore | DaemonStore;
  readonly destination: Destination;
  readonly signal: AbortSignal;
  readonly close: () => Promise<void>;
}

function makePusher({
  target,
  options,
  session,
  source,
  destination,
  signal,
  close,
}: OpenTarget): TargetPusher {
  const roots =
    source instanceof LocalStore ? new QueueRoots(source.layout.stateDir, source.storeDir.path) : undefined;
  const jobs = parseJobs(options, session);
  return {
    async push(paths) {
      await using upstreams = await openUpstreams(options, session);
      const push = { source, destination, recursive: true, upstreams, jobs, onNote: note, signal };
      const { pushed } = await pushPaths(paths, push);
      if (pushed.length > 0) note(`pushed ${pushed.length} paths to ${target.cache}`);
    },
    valid: (paths) => source.queryValidPaths(paths),
    unroot: (path) => roots?.remove(path),
    [Symbol.asyncDispose]: close,
  };
}
