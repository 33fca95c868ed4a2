import type { FlakeLocking } from '@larder/builder/eval/flake-locking';
import type { EvaluationOptions, SystemExpression } from './pipeline.js';

export interface InstantiationOptions extends EvaluationOptions {
  readonly settings: readonly (readonly [name: string, value: string])[];
  /** Variables over those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The words after `nix-instantiate`. */
export function instantiationArguments(
  expression: SystemExpression,
  { searchPath, settings, flakeLock }: Pick<InstantiationOptions, 'searchPath' | 'settings' | 'flakeLock'>,
): string[] {
  const what = 'file' in expression ? [expression.file] : ['--expr', expression.expression];
  const attribute = expression.attribute === '' ? [] : ['--attr', expression.attribute];
  return [
    ...settings.flatMap(([name, value]) => ['--option', name, value]),
    ...searchPath.flatMap((entry) => ['-I', entry]),
    '--show-trace',
    ...(flakeLock === undefined ? [] : lockingArguments(flakeLock)),
    ...what,
    ...attribute,
  ];
}

/** The one derivation that `nix-instantiate` printed; `undefined` where it is none, or several. */
export function parseDerivationPath(output: string): string | undefined {
  // '!out' follows a derivation of several outputs when one is asked for.
  const [path, ...others] = output.trim().split('\n');
  const derivation = path?.replace(/!.*$/, '');
  return others.length === 0 && derivation?.endsWith('.drv') ? derivation : undefined;
}

function lockingArguments({ mode, recreate, updates, overrides, commit }: FlakeLocking): string[] {
  return [
    ...['--lock-flake', mode],
    ...(recreate ? ['--recreate-lock-file'] : []),
    ...(updates ?? []).flatMap((input) => ['--update-input', input]),
    ...(overrides ?? []).flatMap((override) => ['--override-input', ...override]),
    ...(commit ? ['--commit-lock-file'] : []),
  ];
}
