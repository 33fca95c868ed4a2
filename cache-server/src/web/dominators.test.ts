import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Closure, ClosureNode } from './closure.js';
import { computeShares } from './dominators.js';

function closureOf(edges: Readonly<Record<string, readonly string[]>>): Closure {
  const nodes = new Map<string, ClosureNode>(
    Object.entries(edges).map(([name, references], at) => [
      name,
      { hashPart: name, name, size: 2 ** at, references },
    ]),
  );
  const size = [...nodes.values()].reduce((sum, node) => sum + node.size, 0);
  return { root: Object.keys(edges)[0] ?? '', nodes, size, isCut: false };
}

/** Bytes that can no longer be reached from the root without this path. */
function lostWithout({ root, nodes, size }: Closure, without: string): number {
  const seen = new Set<string>();
  const open = root === without ? [] : [root];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name) || name === without) continue;
    seen.add(name);
    open.push(...(nodes.get(name)?.references ?? []));
  }
  return size - [...seen].reduce((sum, name) => sum + (nodes.get(name)?.size ?? 0), 0);
}

test('a diamond is dominated by its top', () => {
  const shares = computeShares(closureOf({ top: ['left', 'right'], left: ['low'], right: ['low'], low: [] }));
  assert.deepEqual(shares.get('low'), { retained: 8, dominator: 'top' });
  assert.deepEqual(shares.get('left'), { retained: 2, dominator: 'top' });
  assert.deepEqual(shares.get('top'), { retained: 15, dominator: undefined });
});

test('in every graph a path retains what is lost without it', () => {
  const graph = fc.integer({ min: 1, max: 14 }).chain((count) =>
    fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: count, maxLength: count }).map((lists) =>
      Object.fromEntries(
        lists.map((list, at) => [
          `n${at}`,
          // Only downwards, and each reached: the one before refers to it.
          [...new Set([at + 1, ...list.map((each) => at + 1 + (each % count))])]
            .filter((to) => to < count)
            .map((to) => `n${to}`),
        ]),
      ),
    ),
  );
  fc.assert(
    fc.property(graph, (edges) => {
      const closure = closureOf(edges);
      const shares = computeShares(closure);
      for (const name of closure.nodes.keys())
        assert.equal(shares.get(name)?.retained, lostWithout(closure, name), name);
    }),
  );
});

test('a chain of 100,000 is no deeper than the stack', () => {
  const count = 100_000;
  const edges = Object.fromEntries(
    Array.from({ length: count }, (_, at) => [`n${at}`, at + 1 < count ? [`n${at + 1}`] : []]),
  );
  assert.equal(computeShares(closureOf(edges)).get('n1')?.dominator, 'n0');
});
