import { TrustedKeys } from '@larder/signing/trust';
import { createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import type { CopyListener } from '@larder/substituter/copy/copy-events';
import { copyPaths } from '@larder/substituter/copy/copy-paths';
import { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { openDestination } from '@larder/substituter/open-destination';
import { openMachineStore, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { EngineOptions } from './pipeline.js';

export interface RemoteCopyOptions extends EngineOptions {
  /** Has the receiving machine fetch from its own caches what they have. */
  readonly useSubstitutes: boolean;
  readonly onEvent?: CopyListener;
  readonly signal?: AbortSignal;
}

/** The paths asked for at a time. */
const queriesAtOnce = 32;

/**
 * Copies a path with all it refers to between this machine's store and another's. Signatures are not asked for: who
 * may log in there and is trusted there answers for what is copied, as with `nix-copy-closure`.
 */
export async function copyClosure(
  path: string,
  { from, to }: { readonly from?: string; readonly to?: string },
  options: RemoteCopyOptions,
): Promise<void> {
  const settings = loadSettings(
    undefined,
    options.settings.map(([name, value]) => ({ name, value, origin: 'command line' })),
  );
  const here = options.root === '' ? settings.get('store') : `local?root=${options.root}`;
  await using client = createClient(settings);
  const sources = new SourceSet([await openSource(from ?? here, client.context)]);
  const destination = await openDestination(to ?? here, client.context, {
    requireSignatures: false,
    substitute: options.useSubstitutes,
  });
  try {
    await copyPaths([destination.storeDir.parse(path)], {
      sources,
      destination,
      recursive: true,
      trusted: TrustedKeys.parse(''),
      requireSignatures: false,
      queries: queriesAtOnce,
      transfers: settings.get('max-substitution-jobs'),
      onEvent: options.onEvent,
      signal: options.signal,
    });
  } finally {
    await Promise.all([sources.close(), destination.close()]);
  }
}

/** Has another machine realise a derivation's output `out`, its inputs copied there first; copies the result back. */
export async function realiseRemotely(
  request: { readonly derivation: string; readonly output: string; readonly host: string },
  options: RemoteCopyOptions,
): Promise<void> {
  const { derivation, output, host } = request;
  await copyClosure(derivation, { to: host }, options);
  await using client = createClient(loadSettings());
  const uri = parseStoreUri(host);
  if (uri.kind !== 'ssh-ng') throw new TypeError(`${host} is no other machine's store`);
  const store = await openMachineStore(uri, client.context);
  try {
    if (store instanceof DaemonStore) await store.buildPaths([`${derivation}!out`]);
  } finally {
    await store.close();
  }
  await copyClosure(output, { from: host }, { ...options, useSubstitutes: false });
}
