import { LarderError } from '@larder/signing/errors';
import { evaluationError } from './evaluation-error.js';
import {
  type InstantiationOptions,
  instantiationArguments,
  parseDerivationPath,
} from './instantiation-arguments.js';
import { runNix, showMessages } from './nix-process.js';
import type { SystemExpression } from './pipeline.js';

/**
 * Runs `nix-instantiate`, or a program with its command line, for one derivation; gives the derivation's path.
 * @throws `evaluation-failed`
 */
export async function readInstantiation(
  command: readonly string[],
  expression: SystemExpression,
  options: InstantiationOptions,
): Promise<string> {
  const { showTrace, signal, environment } = options;
  const { status, output, errors } = await runNix(
    [...command, ...instantiationArguments(expression, options)],
    { signal, environment },
  );
  if (status !== 0) throw evaluationError(errors, { showTrace });
  showMessages(errors);
  const derivation = parseDerivationPath(output);
  if (derivation !== undefined) return derivation;
  throw new LarderError(
    'evaluation-failed',
    `the configuration gives ${output.trim().split('\n').length} derivations instead of one system; name it with --attr`,
  );
}
