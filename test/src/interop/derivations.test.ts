import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import {
  computeDerivationPath,
  type Derivation,
  type DerivationOutput,
  derivationReferences,
  formatDerivation,
  parseDerivation,
} from '@larder/signing/derivation';
import {
  computeDerivationModulo,
  computeOutputPaths,
  type DerivationModulo,
} from '@larder/signing/derivation-hash';
import type { StorePath } from '@larder/signing/store-path';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';

const base = 'system = "x86_64-linux"; builder = "/bin/sh";';

/** Expressions whose derivations, and all their inputs, are compared. */
const expressions: Readonly<Record<string, string>> = {
  'one output': `derivation { name = "plain"; ${base} }`,
  'several outputs': `derivation { name = "multiple"; ${base} outputs = [ "out" "dev" "man" ]; }`,
  'an output that is not out': `derivation { name = "only-lib"; ${base} outputs = [ "lib" ]; }`,
  'a fixed output': `derivation { name = "fetched"; ${base} outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; }`,
  'a recursive fixed output by sha1': `derivation { name = "tree"; ${base} outputHashMode = "recursive";
     outputHashAlgo = "sha1"; outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; }`,
  'characters that ATerm escapes': `derivation { name = "escapes"; ${base}
     text = "quote \\" backslash \\\\ newline \\n tab \\t return \\r dollar \${"$"}{x} \\\${y}"; args = [ "-c" "a\\nb" "" ]; }`,
  'bytes beyond ASCII': `derivation { name = "unicode"; ${base} text = "grün 日本 😀"; "ключ" = "ä"; }`,
  'input derivations and sources': `let
     lib = derivation { name = "lib"; ${base} outputs = [ "out" "dev" ]; };
     src = builtins.toFile "source.txt" "source";
     fetched = derivation { name = "fetched"; ${base} outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
   in derivation { name = "app"; ${base} inherit src fetched; dev = lib.dev; lib = lib; args = [ src ]; }`,
  'the same fixed output fetched two ways': `let
     fetch = url: derivation { name = "fetched"; ${base} inherit url; outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
   in derivation { name = "both"; ${base} a = fetch "one"; b = fetch "two"; }`,
  'structured attributes': `derivation { name = "structured"; ${base} __structuredAttrs = true; list = [ 1 2 { a = null; } ]; }`,
  'a floating content address': `derivation { name = "floating"; ${base} __contentAddressed = true;
     outputHashMode = "recursive"; outputHashAlgo = "sha256"; }`,
  'an input whose path is not known yet': `let
     floating = derivation { name = "floating"; ${base} __contentAddressed = true;
       outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
   in derivation { name = "above"; ${base} inherit floating; }`,
  'a derivation among the sources': `let d = derivation { name = "inner"; ${base} };
   in derivation { name = "reads-drv"; ${base} drv = d.drvPath; }`,
};

for (const [what, expression] of Object.entries(expressions)) {
  test(`derivations with ${what}: text, path and output paths are Nix's own`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const [top = ''] = await nix.instantiate(expression);
    const requisites = (await nix.run('nix-store', ['--query', '--requisites', top])).split('\n');
    const derivations = new Map<StorePath, Derivation>();
    for (const path of requisites.filter((each) => each.endsWith('.drv'))) {
      const storePath = defaultStoreDir.parse(path);
      const text = await readFile(nix.realPath(path), 'utf8');
      const derivation = parseDerivation(text, storePath, defaultStoreDir);
      assert.equal(formatDerivation(derivation, defaultStoreDir), text);
      assert.equal(computeDerivationPath(derivation, defaultStoreDir), storePath);
      const references = await nix.run('nix-store', ['--query', '--references', path]);
      const expected = references.split('\n').filter((line) => line !== '');
      assert.deepEqual(
        derivationReferences(derivation).map((reference) => defaultStoreDir.format(reference)),
        expected.sort(),
      );
      derivations.set(storePath, derivation);
    }
    for (const derivation of derivations.values()) checkOutputPaths(derivation, derivations);
  });
}

/** Forgets the output paths of an input-addressed derivation and computes them anew. */
function checkOutputPaths(derivation: Derivation, all: ReadonlyMap<StorePath, Derivation>): void {
  const known = new Map<string, StorePath>();
  const outputs = new Map<string, DerivationOutput>();
  const env = new Map(derivation.env);
  for (const [name, output] of derivation.outputs) {
    if (output.type !== 'input-addressed') return;
    known.set(name, output.path);
    outputs.set(name, { type: 'deferred' });
    env.set(name, '');
  }
  const blank = { ...derivation, outputs, env };
  const computed = computeOutputPaths(blank, defaultStoreDir, { inputModulo: (path) => modulo(path, all) });
  assert.deepEqual(computed, known);
}

function modulo(path: StorePath, all: ReadonlyMap<StorePath, Derivation>): DerivationModulo {
  const derivation = all.get(path);
  assert.ok(derivation, `${path} is not among the requisites`);
  return computeDerivationModulo(derivation, defaultStoreDir, { inputModulo: (input) => modulo(input, all) });
}
