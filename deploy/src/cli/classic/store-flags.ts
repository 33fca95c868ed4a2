import { usageError } from './messages.js';

/** Which of the flags an operation knows were given. @throws `usage` for any other */
export function readFlags<Name extends string>(
  flags: readonly string[],
  known: readonly Name[],
): ReadonlySet<Name> {
  for (const flag of flags) {
    if (!(known as readonly string[]).includes(flag)) throw usageError(`unknown flag '${flag}'`);
  }
  return new Set(flags as Name[]);
}

/** For operations that take no arguments. @throws `usage` */
export function expectNoArguments(args: readonly string[]): void {
  if (args.length > 0) throw usageError('no arguments expected');
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** A whole number, with a unit as Nix writes them: `10G`. @throws `usage` */
export function parseCount(text: string): number {
  const unit = /[A-Za-z]$/.exec(text)?.[0].toUpperCase() ?? '';
  const factor = UNITS[unit];
  if (factor === undefined) throw usageError(`invalid unit specifier '${unit}'`);
  const digits = unit === '' ? text : text.slice(0, -1);
  if (!/^-?\d+$/.test(digits)) throw usageError(`'${text}' is not an integer`);
  return Number(digits) * factor;
}
