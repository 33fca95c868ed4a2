import { readBuildSettings } from '@larder/builder/build-settings';
import { Builder } from '@larder/builder/builder';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { BuildProgress } from './build-progress.js';
import type { ClientOptions, ClientSession } from './client-session.js';

/** Opens a builder with the settings, the caches and the trust of a verb's session. */
export async function openBuilder(
  session: ClientSession,
  {
    store,
    options,
    progress,
  }: {
    readonly store: LocalStore;
    readonly options: ClientOptions;
    readonly progress: BuildProgress;
  },
): Promise<Builder> {
  return Builder.open({
    store,
    settings: readBuildSettings(session.settings),
    client: session.context,
    ...(await session.trust(options)),
    onEvent: progress.listener,
    signal: session.signal,
  });
}
