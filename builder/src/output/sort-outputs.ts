import type { StorePath } from '@larder/signing/store-path';

interface Sortable {
  readonly name: string;
  readonly scratch: StorePath;
  readonly references: readonly StorePath[];
}

/** Orders a build's outputs so that each comes after those it refers to. `cycle` makes the error of a cycle. */
export function sortOutputs<Output extends Sortable>(
  outputs: readonly Output[],
  cycle: (name: string, other: string) => Error,
): Output[] {
  const byPath = new Map(outputs.map((output) => [output.scratch, output]));
  const sorted = new Set<Output>();
  const visit = (output: Output, above: readonly Output[]): void => {
    if (sorted.has(output)) return;
    for (const reference of output.references) {
      const other = byPath.get(reference);
      if (other === undefined || other === output) continue;
      if (above.includes(other)) throw cycle(other.name, output.name);
      visit(other, [...above, output]);
    }
    sorted.add(output);
  };
  for (const output of outputs) visit(output, []);
  return [...sorted];
}
