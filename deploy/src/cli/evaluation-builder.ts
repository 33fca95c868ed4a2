import { readBuildSettings } from '@larder/builder/build-settings';
import { Builder } from '@larder/builder/builder';
import type { OutputToRealise } from '@larder/builder/eval/host';
import type { Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import type { OpenContext } from '@larder/substituter/open-store';
import { chooseTrust } from '@larder/substituter/settings/choose-trust';
import { createBuildProgress } from './build-progress.js';

/** Makes outputs valid that an evaluation reads (import from derivation); gives their paths, in the same order. */
export async function realiseForEvaluation(
  outputs: readonly OutputToRealise[],
  store: LocalStore | DaemonStore,
  client: OpenContext,
): Promise<StorePath[]> {
  const targets = outputs.map(
    ({ drv, output }): Target => ({ type: 'derivation', path: parseStorePath(drv), outputs: [output] }),
  );
  const realised = await realiseTargets(targets, store, client);
  return outputs.map(({ output }, index) => realised[index]!.get(output)!);
}

/** Makes a path valid that an evaluation reads. */
export async function ensureForEvaluation(
  path: StorePath,
  store: LocalStore | DaemonStore,
  client: OpenContext,
): Promise<void> {
  await realiseTargets([{ type: 'path', path }], store, client);
}

async function realiseTargets(
  targets: readonly Target[],
  store: LocalStore | DaemonStore,
  client: OpenContext,
) {
  if (!(store instanceof LocalStore)) {
    throw new LarderError(
      'store-needs-daemon',
      'the evaluation needs a build, which Larder can do only in a store whose files it may write: run it as root, ' +
        'or build into another store (local?root=DIR)',
    );
  }
  const { settings } = client;
  const progress = createBuildProgress('auto', store.storeDir);
  try {
    await using builder = await Builder.open({
      store,
      settings: readBuildSettings(settings),
      client,
      trusted: await chooseTrust(settings),
      requireSignatures: settings.get('require-sigs'),
      onEvent: progress.listener,
    });
    return await builder.realise(targets);
  } finally {
    progress.finish();
  }
}
