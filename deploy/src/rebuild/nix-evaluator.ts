import { LarderError } from '@larder/signing/errors';
import { evaluationError } from './evaluation-error.js';
import { runNix, settingArguments, storeArguments } from './nix-process.js';
import type { EvaluationOptions, Evaluator, SystemExpression } from './pipeline.js';

export interface NixEngineOptions {
  /** The root's directory, `''` for the machine's own. */
  readonly root: string;
  readonly settings: readonly (readonly [name: string, value: string])[];
}

/** Evaluation by an installed Nix (`nix-instantiate`). */
export class NixEvaluator implements Evaluator {
  readonly #options: NixEngineOptions;

  constructor(options: NixEngineOptions) {
    this.#options = options;
  }

  async instantiate(
    expression: SystemExpression,
    { searchPath, showTrace, signal }: EvaluationOptions,
  ): Promise<string> {
    const what = 'file' in expression ? [expression.file] : ['--expr', expression.expression];
    const attribute = expression.attribute === '' ? [] : ['--attr', expression.attribute];
    const { status, output, errors } = await runNix(
      'nix-instantiate',
      [
        ...storeArguments(this.#options.root),
        ...settingArguments(this.#options.settings),
        ...searchPath.flatMap((entry) => ['-I', entry]),
        '--show-trace',
        ...what,
        ...attribute,
      ],
      { signal },
    );
    if (status !== 0) throw evaluationError(errors, { showTrace });
    // '!out' follows a derivation of several outputs when one is asked for.
    const paths = output
      .trim()
      .split('\n')
      .map((line) => line.replace(/!.*$/, ''));
    if (paths.length !== 1 || !paths[0]!.endsWith('.drv')) {
      throw new LarderError(
        'evaluation-failed',
        `the configuration gives ${paths.length} derivations instead of one system; name it with --attr`,
      );
    }
    return paths[0]!;
  }
}
