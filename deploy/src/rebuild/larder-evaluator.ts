import { fileURLToPath } from 'node:url';
import { readInstantiation } from './instantiation.js';
import type { EngineOptions, EvaluationOptions, Evaluator, SystemExpression } from './pipeline.js';

const executable = fileURLToPath(new URL('../../bin/larder.js', import.meta.url));

/**
 * Evaluation by Larder's own `larder instantiate`, as a process of its own: an evaluation may take gigabytes, and
 * they are given back with it.
 */
export class LarderEvaluator implements Evaluator {
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  instantiate(expression: SystemExpression, options: EvaluationOptions): Promise<string> {
    const { root, settings } = this.#options;
    return readInstantiation([process.execPath, executable, 'instantiate'], expression, {
      ...options,
      settings,
      // What NIX_REMOTE names is the store, for Larder as for Nix.
      environment: root === '' ? undefined : { NIX_REMOTE: `local?root=${root}` },
    });
  }
}
