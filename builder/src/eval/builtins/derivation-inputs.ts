import type { StorePath } from '@larder/signing/store-path';
import { type ContextCollector, parseContextElement } from '../context.js';
import { NixError } from '../errors.js';
import { machine } from '../machine.js';
import { readStoreDerivation } from './derivation-outputs.js';

/** The inputs of a derivation that the context of all its strings asks for. */
export function derivationInputs(
  name: string,
  collector: ContextCollector,
): { derivations: Map<StorePath, Set<string>>; sources: Set<StorePath> } {
  const derivations = new Map<StorePath, Set<string>>();
  const sources = new Set<StorePath>();
  // What contexts name was a store path when it was put there.
  const addOutput = (drv: string, output: string): void => {
    if (drv.startsWith('!')) {
      throw new NixError(
        'other',
        `derivation '${name}' depends on an output of a derivation that is built itself, which cannot be written yet`,
      );
    }
    const path = drv as StorePath;
    const outputs = derivations.get(path);
    if (outputs === undefined) derivations.set(path, new Set([output]));
    else outputs.add(output);
  };
  for (const text of collector.sorted()) {
    const element = parseContextElement(text);
    if (element.kind === 'opaque') sources.add(element.path as StorePath);
    else if (element.kind === 'built') addOutput(element.drv, element.output);
    else {
      for (const path of machine.host.queryClosure(element.drv)) {
        sources.add(path as StorePath);
        if (!path.endsWith('.drv')) continue;
        for (const output of readStoreDerivation(path).outputs.keys()) addOutput(path, output);
      }
    }
  }
  return { derivations, sources };
}
