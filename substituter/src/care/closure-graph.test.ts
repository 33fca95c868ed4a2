import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHash } from '@larder/signing/hash';
import { type PathInfo, sortByReferences } from '@larder/signing/path-info';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import fc from 'fast-check';
import { ClosureGraph } from './closure-graph.js';

const narHash = parseHash(`sha256:${'0'.repeat(52)}`);

function pathOf(index: number): StorePath {
  return parseStorePath(`${String(index).padStart(32, '0')}-p${index}`);
}

/** Path `i` refers to the listed ones, which are lower, and has `2 ** i` bytes: a sum of sizes names its members. */
function graphOf(references: readonly (readonly number[])[]): ClosureGraph {
  const infos = references.map(
    (targets, index): PathInfo => ({
      storePath: pathOf(index),
      narHash,
      narSize: 2 ** index,
      references: [...new Set([...targets, index])].sort((a, b) => a - b).map(pathOf),
      signatures: [],
    }),
  );
  return new ClosureGraph(sortByReferences(infos));
}

test('retained sizes are what goes when a path goes', () => {
  const graphs = fc
    .integer({ min: 1, max: 16 })
    .chain((size) =>
      fc.tuple(
        ...Array.from({ length: size }, (_, index) =>
          index === 0 ? fc.constant([]) : fc.array(fc.integer({ min: 0, max: index - 1 }), { maxLength: 4 }),
        ),
      ),
    );
  fc.assert(
    fc.property(graphs, (references) => {
      const graph = graphOf(references);
      const roots = references
        .map((_, index) => index)
        .filter((i) => graph.referrers(pathOf(i)).length === 0);
      const all = reachable(references, roots);
      for (let gone = 0; gone < references.length; gone++) {
        const without = reachable(references, roots, gone);
        assert.equal(graph.retainedSizes().get(pathOf(gone)), all - without);
        assert.equal(graph.retainedSize([pathOf(gone)]), all - without);
        assert.equal(graph.closureSize(pathOf(gone)), reachable(references, [gone]));
      }
    }),
  );
});

/** The sizes of all that the roots reach, by the definition: a walk that does not enter `gone`. */
function reachable(references: readonly (readonly number[])[], roots: readonly number[], gone = -1): number {
  const seen = new Set(roots.filter((root) => root !== gone));
  for (const index of seen) for (const each of references[index]!) if (each !== gone) seen.add(each);
  return [...seen].reduce((sum, index) => sum + 2 ** index, 0);
}

test('distances go the shortest way', () => {
  const graph = graphOf([[], [0], [1], [2, 0]]);
  assert.deepEqual([...graph.distancesTo(pathOf(0)).entries()].sort(), [
    [pathOf(0), 0],
    [pathOf(1), 1],
    [pathOf(2), 2],
    [pathOf(3), 1],
  ]);
});
