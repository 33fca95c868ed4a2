import { BuildFailure } from '../build-failure.js';
import type { BuildContext, BuildJob } from '../build-job.js';
import type { BuildSettings } from '../build-settings.js';
import { isFixed } from '../derivation/build-environment.js';

/**
 * Whether this machine can build a derivation: its system is ours and its features are here.
 * @throws BuildFailure `build-unsupported`
 */
export function checkPlatform(job: BuildJob, settings: BuildSettings): void {
  if (canBuildHere(job, settings)) return;
  const { system } = job.derivation;
  const features = job.options.requiredSystemFeatures;
  const own = [...settings.systemFeatures].sort().join(', ');
  throw new BuildFailure(
    'build-unsupported',
    `a '${system}' with features {${features.join(', ')}} is required to build '${job.path}', ` +
      `but I am a '${settings.system}' with features {${own}}`,
    { derivation: job.path },
  );
}

/** Whether this machine's system and features are what a derivation needs. */
export function canBuildHere(
  { derivation, options }: Pick<BuildJob, 'derivation' | 'options'>,
  settings: BuildSettings,
): boolean {
  const { system, builder } = derivation;
  const builtin = builder.startsWith('builtin:');
  const fits = builtin || system === settings.system || settings.extraPlatforms.has(system);
  return fits && options.requiredSystemFeatures.every((feature) => canProvide(feature, settings));
}

function canProvide(feature: string, settings: BuildSettings): boolean {
  if (feature === 'ca-derivations') return settings.experimentalFeatures.has(feature);
  return settings.systemFeatures.has(feature);
}

/**
 * Whether a build runs in a sandbox. Without one it can only make outputs where its store's paths really are.
 * @throws BuildFailure `build-unsupported`
 */
export function usesSandbox({ settings, store }: BuildContext, job: BuildJob): boolean {
  const noChroot = job.options.flag('__noChroot');
  if (settings.sandbox === 'enabled' && noChroot) {
    throw new BuildFailure(
      'build-unsupported',
      `derivation '${job.path}' has '__noChroot' set, but that is not allowed when 'sandbox' is 'true'`,
      { derivation: job.path },
    );
  }
  if (store.layout.realStoreDir !== store.storeDir.path) return true;
  if (settings.sandbox === 'enabled') return true;
  return settings.sandbox === 'relaxed' && !isFixed(job.derivation) && !noChroot;
}
