import type { StorePath } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { copyPaths } from '@larder/substituter/copy/copy-paths';
import { LocalDestination } from '@larder/substituter/copy/local-destination';
import { DaemonDestination } from '@larder/substituter/daemon/daemon-destination';
import { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { type OpenContext, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';

/** Narinfos that are asked for at a time. */
const queriesAtOnce = 64;

/** Copies a path that an evaluation names, with all it refers to, from a binary cache. */
export async function fetchClosureForEvaluation(
  path: StorePath,
  fromStore: string,
  { store, client }: { readonly store: LocalStore | DaemonStore; readonly client: OpenContext },
): Promise<void> {
  const { settings } = client;
  const requireSignatures = settings.get('require-sigs');
  const options = { checksTrust: requireSignatures };
  const sources = new SourceSet([await openSource(fromStore, client)]);
  try {
    await copyPaths([path], {
      sources,
      // The store stays open: it is the evaluation's.
      destination:
        store instanceof DaemonStore
          ? new DaemonDestination(store, options)
          : new LocalDestination(store, { ...options, work: client.work }),
      recursive: true,
      trusted: TrustedKeys.parse(settings.get('trusted-public-keys')),
      requireSignatures,
      queries: queriesAtOnce,
      transfers: settings.get('max-substitution-jobs'),
    });
  } finally {
    await sources.close();
  }
}
