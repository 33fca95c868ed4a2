import { readFileSync } from 'node:fs';
import { formatContentAddress } from '@larder/signing/content-address';
import { derivationOutputPath } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, type StoreDir, type StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { JsonValue } from './json-value.js';
import { parseDerivationBytes } from './read-derivation.js';

/**
 * The closure of some inputs of a build, for `exportReferencesGraph`. Derivations in it bring the closures of
 * their outputs along, which must be valid. Sorted by path.
 * @throws `derivation-invalid` when a path is no input of the build
 */
export async function queryReferencesGraph(
  store: LocalStore,
  paths: Iterable<StorePath>,
  inputs: ReadonlySet<StorePath>,
): Promise<ValidPathInfo[]> {
  const roots = new Set(paths);
  for (const path of roots) {
    if (inputs.has(path)) continue;
    throw new LarderError(
      'derivation-invalid',
      `cannot export references of path '${store.storeDir.format(path)}' because it is not in the input closure of the derivation`,
    );
  }
  const closure = await store.queryClosure(roots);
  for (const { storePath } of closure) {
    if (isDerivationPath(storePath)) for (const output of outputsOf(store, storePath)) roots.add(output);
  }
  return (await store.queryClosure(roots)).sort((a, b) => (a.storePath < b.storePath ? -1 : 1));
}

function outputsOf(store: LocalStore, path: StorePath): StorePath[] {
  const derivation = parseDerivationBytes(readFileSync(store.realPath(path)), path, store.storeDir);
  return [...derivation.outputs.keys()].map((name) => {
    const output = derivationOutputPath(derivation, name, store.storeDir);
    if (output !== undefined) return output;
    throw new LarderError(
      'derivation-invalid',
      `cannot export the references of ${path}: its outputs are known only once they are built`,
    );
  });
}

/** The text of `nix-store --register-validity` input, without hashes and derivers: what builds get to see. */
export function formatReferencesGraph(infos: readonly ValidPathInfo[], storeDir: StoreDir): string {
  return infos
    .map(({ storePath, references }) => {
      const lines = [storeDir.format(storePath), '', String(references.length)];
      return [...lines, ...references.map((path) => storeDir.format(path)), ''].join('\n');
    })
    .join('');
}

/** The same for builds with structured attributes, with hashes and closure sizes. */
export function describeReferencesGraph(infos: readonly ValidPathInfo[], storeDir: StoreDir): JsonValue {
  const byPath = new Map(infos.map((info) => [info.storePath, info]));
  return infos.map((info) => {
    const described: [string, JsonValue][] = [
      ['path', storeDir.format(info.storePath)],
      ['narHash', info.narHash.format('nix32')],
      ['narSize', BigInt(info.narSize)],
      ['references', info.references.map((path) => storeDir.format(path))],
      ['closureSize', closureSize(info.storePath, byPath)],
    ];
    if (info.ca !== undefined) described.push(['ca', formatContentAddress(info.ca)]);
    return new Map(described);
  });
}

function closureSize(root: StorePath, byPath: ReadonlyMap<StorePath, ValidPathInfo>): bigint {
  const seen = new Set<StorePath>([root]);
  let size = 0n;
  for (const path of seen) {
    const info = byPath.get(path)!;
    size += BigInt(info.narSize);
    for (const reference of info.references) seen.add(reference);
  }
  return size;
}
