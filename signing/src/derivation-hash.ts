import { makeOutputPath } from './content-address.js';
import {
  type Derivation,
  derivationOutputPath,
  formatDerivation,
  type QuotedVariables,
} from './derivation.js';
import { LarderError } from './errors.js';
import { computeHash, type Hash } from './hash.js';
import type { StoreDir, StorePath } from './store-path.js';

/**
 * What stands for a derivation when another that depends on it is hashed, so that two ways to fetch the same bytes
 * count as one: a hash for each output. `deferred` when it depends on paths that only a build can tell.
 */
export interface DerivationModulo {
  readonly kind: 'regular' | 'deferred';
  readonly hashes: ReadonlyMap<string, Hash>;
}

export interface DerivationModuloOptions {
  /** Leaves out the output paths: for computing them. */
  readonly maskOutputs?: boolean;
  /** The derivation's variables, if they are quoted already. */
  readonly variables?: QuotedVariables | undefined;
  /** `latin1` where the derivation's strings are bytes, one per char. */
  readonly encoding?: 'utf8' | 'latin1';
  /** The modulo of an input derivation; the caller keeps them, each is asked for many times. */
  readonly inputModulo: (path: StorePath) => DerivationModulo;
}

/**
 * Computes the hash modulo fixed-output derivations. Format: `hashDerivationModulo` in Nix, and the manual's
 * "Derivation outputs and types of derivations".
 */
export function computeDerivationModulo(
  derivation: Derivation,
  storeDir: StoreDir,
  options: DerivationModuloOptions,
): DerivationModulo {
  const outputs = [...derivation.outputs];
  const first = outputs[0]?.[1];
  if (first?.type === 'fixed') {
    return {
      kind: 'regular',
      hashes: new Map(outputs.map(([name]) => [name, fixedOutputHash(derivation, name, storeDir)])),
    };
  }
  if (first?.type === 'impure') {
    const impure = computeHash('sha256', 'impure');
    return { kind: 'deferred', hashes: new Map(outputs.map(([name]) => [name, impure])) };
  }
  const { inputHashes, deferred } = collectInputs(derivation, options);
  const { maskOutputs, variables, encoding = 'utf8' } = options;
  const text = formatDerivation(derivation, storeDir, { maskOutputs, variables, inputHashes });
  const hash = computeHash('sha256', encoding === 'utf8' ? text : Buffer.from(text, encoding));
  // With the outputs masked, paths that are still to be computed do not make it deferred: only its inputs can.
  const ownDeferred =
    first?.type === 'floating' || (first?.type === 'deferred' && options.maskOutputs !== true);
  return {
    kind: deferred || ownDeferred ? 'deferred' : 'regular',
    hashes: new Map(outputs.map(([name]) => [name, hash])),
  };
}

function collectInputs(derivation: Derivation, options: DerivationModuloOptions) {
  const inputHashes = new Map<string, Set<string>>();
  let deferred = false;
  for (const [path, names] of derivation.inputDerivations) {
    const modulo = options.inputModulo(path);
    if (modulo.kind === 'deferred') deferred = true;
    for (const name of names) {
      const hash = modulo.hashes.get(name);
      if (hash === undefined) {
        throw new LarderError(
          'derivation-invalid',
          `derivation ${derivation.name} asks for output '${name}' of ${path}, which has none such`,
        );
      }
      const key = hash.format('base16', { prefix: false });
      const wanted = inputHashes.get(key);
      if (wanted === undefined) inputHashes.set(key, new Set([name]));
      else wanted.add(name);
    }
  }
  return { inputHashes, deferred };
}

function fixedOutputHash(derivation: Derivation, name: string, storeDir: StoreDir): Hash {
  const output = derivation.outputs.get(name);
  const path = derivationOutputPath(derivation, name, storeDir);
  if (output?.type !== 'fixed' || path === undefined) {
    throw new LarderError(
      'derivation-invalid',
      `derivation ${derivation.name} mixes fixed outputs with others`,
    );
  }
  const { method, hash } = output.ca;
  const prefix = { flat: '', recursive: 'r:', text: 'text:', git: 'git:' }[method];
  return computeHash('sha256', `fixed:out:${prefix}${hash.format('base16')}:${storeDir.format(path)}`);
}

/**
 * The output paths of an input-addressed derivation whose outputs are `deferred` so far, or `undefined` when an
 * input's path is not known yet.
 */
export function computeOutputPaths(
  derivation: Derivation,
  storeDir: StoreDir,
  options: Omit<DerivationModuloOptions, 'maskOutputs'>,
): ReadonlyMap<string, StorePath> | undefined {
  const modulo = computeDerivationModulo(derivation, storeDir, { ...options, maskOutputs: true });
  if (modulo.kind === 'deferred') return undefined;
  const paths = new Map<string, StorePath>();
  for (const [output, hash] of modulo.hashes) {
    paths.set(output, makeOutputPath(storeDir, output, { hash, name: derivation.name }));
  }
  return paths;
}

/** What stands in a build for the path of an output that is not known yet (`builtins.placeholder`). */
export function outputPlaceholder(output: string): string {
  return `/${computeHash('sha256', `nix-output:${output}`).format('nix32', { prefix: false })}`;
}
