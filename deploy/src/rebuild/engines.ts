import type { MachineRoot } from '../activate/machine-root.js';
import { NixEvaluator } from './nix-evaluator.js';
import { NixRealiser } from './nix-realiser.js';
import type { Evaluator, Realiser } from './pipeline.js';

export interface EngineChoice {
  readonly root: MachineRoot;
  readonly settings: readonly (readonly [name: string, value: string])[];
}

export interface Engines extends AsyncDisposable {
  readonly evaluator: Evaluator;
  readonly realiser: Realiser;
}

/** The engines behind the pipeline, bound to the machine's store. */
export async function openEngines({ root, settings }: EngineChoice): Promise<Engines> {
  const options = { root: root.directory, settings };
  const realiser = new NixRealiser(options);
  return {
    evaluator: new NixEvaluator(options),
    realiser,
    [Symbol.asyncDispose]: () => realiser.close(),
  };
}
