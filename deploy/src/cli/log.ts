import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { decompress } from '@larder/signing/codec';
import { sniffCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { findBuildLog } from '@larder/substituter/local-store/build-logs';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import type { Command } from 'commander';
import { addClientOptions, ClientSession } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import type { StoreOptions } from './store.js';

export function createCommand(): Command {
  const log = createVerb('log', {
    summary: 'Print the log of the build of a path: from this machine, else from the caches.',
    examples: [
      ['larder log ./result', 'how it was built'],
      ['larder log /nix/store/…-hello-2.12.drv', "a derivation's last build, also one that failed"],
    ],
  })
    .argument('<path>', 'a derivation, or an output of one')
    .option('--store <store>', 'the store that knows the path', 'auto');
  return addClientOptions(log).action(runLog);
}

async function runLog(text: string, options: StoreOptions): Promise<void> {
  await using session = await ClientSession.open(options);
  const store = await openSource(options.store, session.context);
  try {
    if (!(store instanceof LocalStore)) throw usageError(`'${options.store}' is not a store on this machine`);
    const [path] = await parsePathArguments([text], {
      storeDir: store.storeDir,
      lookup: (hashPart) => store.queryPathFromHashPart(hashPart),
      signal: session.signal,
    });
    const candidates = await findDerivations(store, path!);
    for await (const chunk of openLog(candidates, store, session)) {
      if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
    }
  } finally {
    await store.close();
  }
}

/** The derivations whose build made the path, the likeliest first. */
async function findDerivations(store: LocalStore, path: StorePath): Promise<StorePath[]> {
  if (isDerivationPath(path)) return [path];
  const deriver = (await store.queryPathInfo(path))?.deriver;
  const others = await store.queryValidDerivers(path);
  return [...new Set([...(deriver === undefined ? [] : [deriver]), ...others])];
}

async function* openLog(
  derivations: readonly StorePath[],
  store: LocalStore,
  session: ClientSession,
): AsyncGenerator<Uint8Array> {
  for (const derivation of derivations) {
    const found = findBuildLog(store.layout.logDir, derivation);
    if (found === undefined) continue;
    yield* decompress(createReadStream(found.path), found.compressed ? 'bzip2' : 'none');
    return;
  }
  for (const derivation of derivations) {
    const log = await fetchLog(derivation, session);
    if (log === undefined) continue;
    yield* decompress(single(log), sniffCompression(log) ?? 'none');
    return;
  }
  const asked =
    derivations.map((path) => store.storeDir.format(path)).join(', ') ||
    'a path whose derivation is not known';
  throw new LarderError('log-not-found', `there is no build log of ${asked}, neither here nor in a cache`);
}

/** A cache's log, whatever it is compressed with. */
async function fetchLog(derivation: StorePath, session: ClientSession): Promise<Uint8Array | undefined> {
  for (const uri of session.settings.get('substituters')) {
    const cache = await openSource(uri, session.context);
    try {
      if (!(cache instanceof BinaryCache)) continue;
      const log = await cache.files.read(`log/${derivation}`, { signal: session.signal });
      if (log !== undefined) return log;
    } finally {
      await cache.close();
    }
  }
  return undefined;
}

async function* single(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}
