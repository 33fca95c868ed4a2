import { outputPathName } from '@larder/signing/content-address';
import {
  type Derivation,
  type DerivationOutput,
  derivationReferences,
  formatDerivation,
} from '@larder/signing/derivation';
import { computeOutputPaths } from '@larder/signing/derivation-hash';
import { LarderError } from '@larder/signing/errors';
import { computeHash } from '@larder/signing/hash';
import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import { addText } from '@larder/substituter/local-store/add-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { rewriteBytes } from '../derivation/rewrite.js';

/** What inputs came out as: by derivation and output name. */
export type InputOutputs = ReadonlyMap<StorePath, ReadonlyMap<string, StorePath>>;

/**
 * Writes a derivation's resolved form to the store: one that has no derivations as inputs but what they came out as, with
 * the placeholders replaced that stood for those paths. Gives its path.
 * Reference: `Derivation::tryResolve` in Nix.
 */
export async function resolveDerivation(
  derivation: Derivation,
  inputs: InputOutputs,
  store: LocalStore,
): Promise<StorePath> {
  const { storeDir } = store;
  const rewrites = new Map<string, string>();
  const inputSources = new Set(derivation.inputSources);
  for (const [input, names] of derivation.inputDerivations) {
    for (const name of names) {
      const path = inputs.get(input)?.get(name);
      if (path === undefined) {
        throw new LarderError(
          'derivation-invalid',
          `derivation ${derivation.name}: ${input} has no output '${name}'`,
        );
      }
      rewrites.set(upstreamPlaceholder(input, name), storeDir.format(path));
      inputSources.add(path);
    }
  }
  const rewrite = (text: string) => rewriteBytes(text, rewrites);
  const rewritten: Derivation = {
    ...derivation,
    inputDerivations: new Map(),
    inputSources,
    builder: rewrite(derivation.builder),
    args: derivation.args.map(rewrite),
    env: new Map([...derivation.env].map(([name, value]) => [rewrite(name), rewrite(value)])),
  };
  const resolved = nameDeferredOutputs(rewritten, store);
  const text = formatDerivation(resolved, storeDir);
  const info = await addText(store, {
    name: `${resolved.name}.drv`,
    text,
    references: derivationReferences(resolved),
  });
  return info.storePath;
}

/** Outputs that only waited for their inputs' paths get their own. */
function nameDeferredOutputs(derivation: Derivation, { storeDir }: LocalStore): Derivation {
  if (![...derivation.outputs.values()].some(({ type }) => type === 'deferred')) return derivation;
  const inputModulo = () => ({ kind: 'regular', hashes: new Map() }) as const;
  const paths = computeOutputPaths(derivation, storeDir, { inputModulo })!;
  const env = new Map(derivation.env);
  const outputs = new Map<string, DerivationOutput>();
  for (const [name, output] of derivation.outputs) {
    const path = paths.get(name)!;
    outputs.set(name, output.type === 'deferred' ? { type: 'input-addressed', path } : output);
    env.set(name, storeDir.format(path));
  }
  return { ...derivation, outputs, env };
}

/** What stands in a derivation for an output of an input whose path only a build gives. */
function upstreamPlaceholder(derivation: StorePath, output: string): string {
  const name = outputPathName(storePathName(derivation).replace(/\.drv$/, ''), output);
  const clear = `nix-upstream-output:${storePathHashPart(derivation)}:${name}`;
  return `/${computeHash('sha256', clear).format('nix32', { prefix: false })}`;
}
