import { makeContentAddressedPath } from '@larder/signing/content-address';
import {
  type Derivation,
  derivationOutputPath,
  parseDerivation,
  type QuotedVariables,
} from '@larder/signing/derivation';
import { computeDerivationModulo, type DerivationModulo } from '@larder/signing/derivation-hash';
import type { Hash } from '@larder/signing/hash';
import { parseStorePath, StoreDir, type StorePath } from '@larder/signing/store-path';
import { machine } from '../machine.js';
import { downstreamPlaceholder } from '../realise.js';
import { NixString, type Slot } from '../values.js';

let currentStoreDir: StoreDir | undefined;

/** The store directory of this evaluation. */
export function storeDir(): StoreDir {
  const { storeDir: path } = machine.host;
  if (currentStoreDir?.path !== path) currentStoreDir = new StoreDir(path);
  return currentStoreDir;
}

/** The store path of contents with a known hash. */
export function fixedOutputStorePath(name: string, method: 'flat' | 'recursive', hash: Hash): string {
  return makeContentAddressedPath(storeDir(), name, { method, hash });
}

/** An output of a derivation as the language sees it: its path, or what stands for it until it is built. */
export function outputString(drvPath: string, derivation: Derivation, output: string): NixString {
  const path = derivationOutputPath(derivation, output, storeDir());
  const text =
    path === undefined ? downstreamPlaceholder(drvPath, output) : `${machine.host.storeDir}/${path}`;
  return new NixString(text, new Set([`!${output}!${drvPath}`]));
}

const derivations = new WeakMap<object, Map<string, Derivation>>();
const modulos = new WeakMap<object, Map<string, DerivationModulo>>();

function cacheOf<T>(caches: WeakMap<object, Map<string, T>>): Map<string, T> {
  let cache = caches.get(machine.host);
  if (cache === undefined) {
    cache = new Map();
    caches.set(machine.host, cache);
  }
  return cache;
}

/** A derivation of the store, parsed once; its strings are bytes, one per char. */
export function readStoreDerivation(drvPath: string): Derivation {
  const cache = cacheOf(derivations);
  let derivation = cache.get(drvPath);
  if (derivation === undefined) {
    const text = machine.host.readDerivation(drvPath);
    derivation = parseDerivation(text, parseStorePath(drvPath), storeDir());
    cache.set(drvPath, derivation);
  }
  return derivation;
}

/** The hash modulo of a derivation, computed once. */
export function derivationModulo(drvPath: StorePath): DerivationModulo {
  const cache = cacheOf(modulos);
  let modulo = cache.get(drvPath);
  if (modulo === undefined) {
    modulo = computeDerivationModulo(readStoreDerivation(drvPath), storeDir(), {
      inputModulo: derivationModulo,
      encoding: 'latin1',
    });
    cache.set(drvPath, modulo);
  }
  return modulo;
}

/** Notes a derivation made just now, so that those that depend on it need not read it. */
export function rememberModulo(drvPath: StorePath, derivation: Derivation, variables: QuotedVariables): void {
  const modulo = computeDerivationModulo(derivation, storeDir(), {
    inputModulo: derivationModulo,
    encoding: 'latin1',
    variables,
  });
  cacheOf(modulos).set(drvPath, modulo);
}

/** Name and outputs of a derivation of the store, as values. */
export function parseStoreDerivation(drvPath: string): { name: string; outputs: Map<string, Slot> } {
  const derivation = readStoreDerivation(drvPath);
  const outputs = new Map<string, Slot>();
  for (const output of derivation.outputs.keys()) {
    outputs.set(output, outputString(drvPath, derivation, output));
  }
  return { name: derivation.env.get('name') ?? derivation.name, outputs };
}
