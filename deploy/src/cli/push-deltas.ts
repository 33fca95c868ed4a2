import type { PinDescription } from '@larder/cache-server/http/pin-bodies';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import type { Destination } from '@larder/substituter/copy/destination';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { pushDeltas } from '@larder/substituter/publish/push-deltas';
import { sideFilesOf } from '@larder/substituter/publish/side-files';
import type { PathSource } from '@larder/substituter/store';
import { type ClientSession, note } from './client-session.js';
import { usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { ServerApi, type ServerOptions } from './server-api.js';
import { formatBytes } from './units.js';

interface OriginContext {
  readonly cache: string;
  readonly source: PathSource;
  readonly options: ServerOptions;
  readonly session: ClientSession;
}

/** What `--delta-from` names: store paths, links to them, or pins of the cache. */
export async function findDeltaOrigins(
  texts: readonly string[],
  { cache, source, options, session }: OriginContext,
): Promise<StorePath[]> {
  const origins = await Promise.all(
    texts.map(async (text) => {
      if (isPinName(text)) return queryPin(cache, text, options);
      const { storeDir } = source;
      return parsePathArguments([text], {
        storeDir,
        lookup: (hashPart, read) => source.queryPathFromHashPart(hashPart, read),
        signal: session.signal,
      });
    }),
  );
  return origins.flat();
}

/** Anything else has a slash in it, or is a base name or hash part of the store's. */
function isPinName(text: string): boolean {
  return !text.includes('/') && !/^[0-9a-z]{32}(-|$)/.test(text);
}

async function queryPin(cache: string, name: string, options: ServerOptions): Promise<StorePath[]> {
  const { api, path } = await ServerApi.openCache(cache, options);
  const pin = await api.call<PinDescription>('GET', `${path}/pins/${encodeURIComponent(name)}`);
  return (pin.revisions[0]?.paths ?? []).map((each) => parseStorePath(each));
}

interface DeltaJob {
  readonly from: readonly StorePath[];
  readonly source: PathSource;
  readonly destination: Destination;
  readonly session: ClientSession;
}

/** Makes the deltas and says what came of it. @throws `usage` where there is no store to make them from */
export async function makeDeltas(
  roots: readonly StorePath[],
  { from, source, destination, session }: DeltaJob,
): Promise<void> {
  const sideFiles = sideFilesOf(destination);
  if (!(source instanceof LocalStore) || sideFiles === undefined) {
    throw usageError(
      '--delta-from works on the files of a store: name one that you may open with --store (local?root=DIR)',
    );
  }
  const { deltas, bytes, narBytes } = await pushDeltas(roots, {
    ...{ store: source, sideFiles, from, onNote: note },
    work: session.context.work,
    signal: session.signal,
  });
  note(`${deltas} deltas of ${formatBytes(bytes)}, for ${formatBytes(narBytes)} of archives`);
}
