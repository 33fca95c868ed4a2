import { LarderError } from '@larder/signing/errors';
import { evaluationError } from './evaluation-error.js';
import { runNix, settingArguments } from './nix-process.js';
import type { EvaluationOptions, SystemExpression } from './pipeline.js';

export interface InstantiationOptions extends EvaluationOptions {
  readonly settings: readonly (readonly [name: string, value: string])[];
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Runs `nix-instantiate`, or a program with its command line, for one derivation; gives the derivation's path.
 * @throws `evaluation-failed`
 */
export async function readInstantiation(
  command: readonly string[],
  expression: SystemExpression,
  { searchPath, showTrace, signal, settings, environment }: InstantiationOptions,
): Promise<string> {
  const what = 'file' in expression ? [expression.file] : ['--expr', expression.expression];
  const attribute = expression.attribute === '' ? [] : ['--attr', expression.attribute];
  const { status, output, errors } = await runNix(
    [
      ...command,
      ...settingArguments(settings),
      ...searchPath.flatMap((entry) => ['-I', entry]),
      '--show-trace',
      ...what,
      ...attribute,
    ],
    { signal, environment },
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
