import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { StoreDir } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { copyPaths } from '@larder/substituter/copy/copy-paths';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { LocalStore, localStoreOptions } from '@larder/substituter/local-store/local-store';
import { openDestination } from '@larder/substituter/open-destination';
import type { Assignment } from '@larder/substituter/settings/nix-conf';
import { SourceSet } from '@larder/substituter/source-set';
import type { CommonArguments } from './arguments.js';
import { ToolSession } from './session.js';
import type { ToolContext } from './tool-context.js';

export interface CacheInstantiation {
  readonly common: CommonArguments;
  readonly context: ToolContext;
  /** Evaluates with these settings; gives the exit status. */
  readonly evaluate: (settings: readonly Assignment[]) => Promise<number>;
}

/** Writes derivations, and all they need, straight to a binary cache: a store of their own holds them on the way. */
export async function instantiateIntoCache({
  common,
  context,
  evaluate,
}: CacheInstantiation): Promise<number> {
  await using session = new ToolSession(common, context.environment);
  const uri = session.settings.get('store');
  const storeDir = session.settings.directories.storeDir.value;
  const directory = mkdtempSync(`${tmpdir()}/larder-instantiate-`);
  const root = { real: `${directory}/store`, state: `${directory}/var`, log: `${directory}/log` };
  const parameters = Object.entries(root).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  try {
    const value = `local?${parameters.join('&')}`;
    const status = await evaluate([...common.settings, { name: 'store', value, origin: 'command line' }]);
    if (status !== 0) return status;
    const layout = {
      storeDir: new StoreDir(storeDir),
      realStoreDir: root.real,
      stateDir: root.state,
      logDir: root.log,
    };
    const store = await LocalStore.open(layout, localStoreOptions(session.settings));
    await copyAll(session, store, uri);
    return 0;
  } finally {
    await deleteTree(directory);
  }
}

async function copyAll(session: ToolSession, store: LocalStore, uri: string): Promise<void> {
  const { settings, signal } = session;
  const sources = new SourceSet([store]);
  const destination = await openDestination(uri, await session.client());
  try {
    await copyPaths(await store.queryAllValidPaths(), {
      sources,
      destination,
      recursive: true,
      trusted: TrustedKeys.parse(settings.get('trusted-public-keys')),
      requireSignatures: false,
      queries: 64,
      transfers: settings.get('max-substitution-jobs'),
      signal,
    });
  } finally {
    await destination.close();
    await sources.close();
  }
}
