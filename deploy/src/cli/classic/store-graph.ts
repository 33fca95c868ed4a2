import { sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, type StorePath, storePathName } from '@larder/signing/store-path';
import type { MachineStore } from '@larder/substituter/store';
import { printLines } from './messages.js';
import { queryValid } from './store-arguments.js';

/** Prints what paths refer to as trees; what was shown before is not opened again. */
export async function printTree(store: MachineStore, roots: readonly StorePath[]): Promise<void> {
  const done = new Set<StorePath>();
  const visit = async (path: StorePath, pads: { first: string; tail: string }): Promise<void> => {
    const full = store.storeDir.format(path);
    if (done.has(path)) {
      printLines([`${pads.first}${full} [...]`]);
      return;
    }
    done.add(path);
    printLines([`${pads.first}${full}`]);
    const { references } = await queryValid(store, path);
    const infos = await Promise.all(references.map((each) => queryValid(store, each)));
    const sorted = sortByReferences(infos);
    for (const [index, { storePath }] of sorted.entries()) {
      const last = index === sorted.length - 1;
      await visit(storePath, {
        first: `${pads.tail}${last ? '└───' : '├───'}`,
        tail: `${pads.tail}${last ? '    ' : '│   '}`,
      });
    }
  };
  for (const root of roots) await visit(root, { first: '', tail: '' });
}

/** The paths and all they refer to, always the first by name of those that are known so far. */
async function* walk(store: MachineStore, roots: Iterable<StorePath>): AsyncGenerator<ValidPathInfo> {
  const pending = [...new Set(roots)].sort().reverse();
  const seen = new Set(pending);
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const info = await queryValid(store, path);
    yield info;
    for (const reference of info.references) {
      if (seen.has(reference)) continue;
      seen.add(reference);
      pending.splice(placeOf(pending, reference), 0, reference);
    }
  }
}

/** Where a path goes into a list that is sorted from the last to the first. */
function placeOf(pending: readonly StorePath[], path: StorePath): number {
  let low = 0;
  let high = pending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pending[middle]! > path) low = middle + 1;
    else high = middle;
  }
  return low;
}

const colours = ['black', 'red', 'green', 'blue', 'magenta', 'burlywood'];

/** Prints the graph of references for Graphviz. */
export async function printDot(store: MachineStore, roots: Iterable<StorePath>): Promise<void> {
  let edges = 0;
  printLines(['digraph G {']);
  for await (const { storePath, references } of walk(store, roots)) {
    const lines = [
      `"${storePath}" [label = "${storePathName(storePath)}", shape = box, style = filled, fillcolor = "#ff0000"];`,
    ];
    for (const reference of references) {
      if (reference === storePath) continue;
      lines.push(`"${reference}" -> "${storePath}" [color = "${colours[edges++ % colours.length]}"];`);
    }
    printLines(lines);
  }
  printLines(['}']);
}

/** The same in GraphML. */
export async function printGraphMl(store: MachineStore, roots: Iterable<StorePath>): Promise<void> {
  const key = (id: string, type: string): string =>
    `<key id='${id}' for='node' attr.name='${id}' attr.type='${type}'/>`;
  printLines([
    "<?xml version='1.0' encoding='utf-8'?>",
    "<graphml xmlns='http://graphml.graphdrawing.org/xmlns'",
    "    xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'",
    "    xsi:schemaLocation='http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd'>",
    `${key('narSize', 'int')}${key('name', 'string')}${key('type', 'string')}<graph id='G' edgedefault='directed'>`,
  ]);
  for await (const info of walk(store, roots)) {
    printLines([
      ...graphMlNode(info),
      ...info.references
        .filter((reference) => reference !== info.storePath)
        .map((reference) => `  <edge source="${info.storePath}" target="${reference}"/>`),
    ]);
  }
  printLines(['</graph>', '</graphml>']);
}

function graphMlNode({ storePath, narSize }: ValidPathInfo): string[] {
  const name = storePathName(storePath);
  return [
    `  <node id="${storePath}">`,
    `    <data key="narSize">${narSize}</data>`,
    // Nix shows the name up to its first dash.
    `    <data key="name">${name.slice(0, name.indexOf('-') + 1)}</data>`,
    `    <data key="type">${isDerivationPath(storePath) ? 'derivation' : 'output-path'}</data>`,
    '  </node>',
  ];
}
