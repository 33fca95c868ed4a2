import { readInstantiation } from './instantiation.js';
import { storeArguments } from './nix-process.js';
import type { EngineOptions, EvaluationOptions, Evaluator, SystemExpression } from './pipeline.js';

/** Evaluation by an installed Nix (`nix-instantiate`). */
export class NixEvaluator implements Evaluator {
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Nix keeps no results of `nix-instantiate`. */
  async recall(): Promise<undefined> {}

  instantiate(
    expression: SystemExpression,
    // `nix-instantiate` locks nothing, and fails where that is needed.
    { flakeLock: _, ...options }: EvaluationOptions,
  ): Promise<string> {
    const { root, settings } = this.#options;
    return readInstantiation(['nix-instantiate', ...storeArguments(root)], expression, {
      ...options,
      settings,
    });
  }
}
