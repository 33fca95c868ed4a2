import { fileURLToPath } from 'node:url';
import { childEnvironment } from '../config.js';
import type { EngineOptions, EvaluationOptions, Evaluator, SystemExpression } from './pipeline.js';

const executable = fileURLToPath(new URL('../../bin/larder.js', import.meta.url));

/**
 * Evaluation by Larder's own `larder instantiate`, as a process of its own: an evaluation may take gigabytes, and
 * they are given back with it. What it gave before is looked up here, without a process.
 */
export class LarderEvaluator implements Evaluator {
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  async recall(expression: SystemExpression, options: EvaluationOptions): Promise<string | undefined> {
    const [{ instantiationArguments, parseDerivationPath }, { recallInstantiation }] = await Promise.all([
      import('./instantiation-arguments.js'),
      import('./instantiation-memory.js'),
    ]);
    const args = instantiationArguments(expression, { ...options, ...this.#surroundings() });
    const known = recallInstantiation(args, childEnvironment(this.#surroundings().environment ?? {}));
    if (known === undefined) return undefined;
    if (known.messages !== '') (await import('./nix-process.js')).showMessages(known.messages);
    return parseDerivationPath(known.output);
  }

  async instantiate(expression: SystemExpression, options: EvaluationOptions): Promise<string> {
    const { readInstantiation } = await import('./instantiation.js');
    const command = [process.execPath, executable, 'instantiate'];
    return readInstantiation(command, expression, { ...options, ...this.#surroundings() });
  }

  #surroundings() {
    const { root, settings } = this.#options;
    // What NIX_REMOTE names is the store, for Larder as for Nix.
    return { settings, environment: root === '' ? undefined : { NIX_REMOTE: `local?root=${root}` } };
  }
}
