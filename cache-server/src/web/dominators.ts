import type { Closure } from './closure.js';

/** What a path of a closure brings along that nothing else does. */
export interface Share {
  /** Bytes that would go with it: its own and those of all that is needed through it alone. */
  readonly retained: number;
  /** The nearest path that everything which needs it goes through; absent for the root. */
  readonly dominator: string | undefined;
}

/**
 * For every path of a closure, what would go if nothing referred to it: the subtree below it in the dominator tree.
 * After K. D. Cooper, T. J. Harvey and K. Kennedy, "A Simple, Fast Dominance Algorithm".
 */
export function computeShares({ root, nodes }: Closure): Map<string, Share> {
  const order = postOrder(root, nodes);
  const index = new Map(order.map((hashPart, at) => [hashPart, at]));
  const predecessors: number[][] = order.map(() => []);
  for (const hashPart of order)
    for (const reference of nodes.get(hashPart)?.references ?? []) {
      const to = index.get(reference);
      if (to !== undefined) predecessors[to]?.push(index.get(hashPart) ?? 0);
    }
  const top = order.length - 1;
  const dominators = new Int32Array(order.length).fill(-1);
  dominators[top] = top;
  // References have no cycles, so that one pass from the root down finds them all.
  for (let at = top - 1; at >= 0; at--) {
    let common = -1;
    for (const before of predecessors[at] ?? [])
      if (dominators[before] !== -1) common = common === -1 ? before : meet(dominators, before, common);
    dominators[at] = common === -1 ? top : common;
  }
  const retained = order.map((hashPart) => nodes.get(hashPart)?.size ?? 0);
  for (let at = 0; at < top; at++) {
    const above = dominators[at] ?? top;
    retained[above] = (retained[above] ?? 0) + (retained[at] ?? 0);
  }
  return new Map(
    order.map((hashPart, at) => [
      hashPart,
      { retained: retained[at] ?? 0, dominator: at === top ? undefined : order[dominators[at] ?? top] },
    ]),
  );
}

/** The nearest that both go through. Numbers grow towards the root. */
function meet(dominators: Int32Array, left: number, right: number): number {
  let [a, b] = [left, right];
  while (a !== b) {
    while (a < b) a = dominators[a] ?? b;
    while (b < a) b = dominators[b] ?? a;
  }
  return a;
}

/** Every path after all that it refers to, the root last. Without recursion: chains of references may be long. */
function postOrder(root: string, nodes: Closure['nodes']): string[] {
  const order: string[] = [];
  const seen = new Set([root]);
  const stack: { readonly hashPart: string; at: number }[] = [{ hashPart: root, at: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const next = nodes.get(top.hashPart)?.references[top.at++];
    if (next === undefined) {
      order.push(top.hashPart);
      stack.pop();
    } else if (nodes.has(next) && !seen.has(next)) {
      seen.add(next);
      stack.push({ hashPart: next, at: 0 });
    }
  }
  return order;
}
