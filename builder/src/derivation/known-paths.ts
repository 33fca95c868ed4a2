import type { Derivation } from '@larder/signing/derivation';
import type { StorePath } from '@larder/signing/store-path';
import { BuildFailure } from '../build-failure.js';

/** Whether the paths of all outputs can be told before the derivation is built. */
function hasKnownOutputPaths(derivation: Derivation): boolean {
  return [...derivation.outputs.values()].every(({ type }) => type === 'input-addressed' || type === 'fixed');
}

/**
 * Whether a derivation is built by way of its resolved form, in which what its inputs came out as stands in place of the
 * inputs: then the same contents of inputs give the same derivation, and nothing is built again (early cut-off).
 * Reference: `DerivationGoal::inputsRealised` in Nix.
 */
export function mustResolve(derivation: Derivation): boolean {
  if (derivation.inputDerivations.size === 0) return false;
  return [...derivation.outputs.values()].some(({ type }) => type !== 'input-addressed');
}

/** @throws BuildFailure `build-unsupported` for outputs whose path only a build gives, unless they are wished for */
export function requireFeatures(
  path: StorePath,
  derivation: Derivation,
  { enabled }: { readonly enabled: boolean },
): void {
  if (enabled || hasKnownOutputPaths(derivation)) return;
  throw new BuildFailure(
    'build-unsupported',
    `derivation '${path}' has content-addressed outputs: experimental Nix feature 'ca-derivations' is disabled; ` +
      "use '--option extra-experimental-features=ca-derivations' to enable it",
    { derivation: path },
  );
}
