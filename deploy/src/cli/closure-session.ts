import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { resolveClosure } from '@larder/substituter/closure';
import { openSource } from '@larder/substituter/open-store';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession } from './client-session.js';
import { parsePathArguments } from './path-arguments.js';

export interface ClosureOptions extends ClientOptions {
  readonly store: string;
  readonly json?: boolean;
}

export type Source = Awaited<ReturnType<typeof openSource>>;

/** What verbs that look at closures work with: a source, and the paths that were named. */
export interface ClosureView {
  readonly session: ClientSession;
  readonly source: Source;
  readonly named: readonly StorePath[];
  /** All that the paths refer to, themselves included, references first. @throws `path-not-found` */
  closure(roots: readonly StorePath[]): Promise<PathInfo[]>;
}

/** Adds `--store`, `--json` and what every verb of the client takes. */
export function addClosureOptions(command: Command): Command {
  return addClientOptions(
    command
      .option('--store <store>', 'the store or cache that has the paths', 'auto')
      .option('--json', 'as JSON'),
  );
}

/** Opens the store, reads the arguments, and closes everything after `look`. */
export async function viewClosures(
  texts: readonly string[],
  options: ClosureOptions,
  look: (view: ClosureView) => Promise<void>,
): Promise<void> {
  await using session = await ClientSession.open(options);
  const source = await openSource(options.store, session.context);
  try {
    const named = await parsePathArguments(texts, {
      storeDir: source.storeDir,
      lookup: (hashPart, read) => source.queryPathFromHashPart(hashPart, read),
      signal: session.signal,
    });
    await look({ session, source, named, closure: (roots) => closureOf(source, roots, session.signal) });
  } finally {
    await source.close();
  }
}

async function closureOf(
  source: Source,
  roots: readonly StorePath[],
  signal: AbortSignal,
): Promise<PathInfo[]> {
  const found = await resolveClosure(roots, {
    find: async (path) => {
      const info = await source.queryPathInfo(path, { signal });
      return info === undefined ? undefined : { info, source };
    },
    filter: async (paths) => new Set(paths),
    recursive: true,
    concurrency: 64,
    signal,
  });
  return found.map(({ info }) => info);
}
