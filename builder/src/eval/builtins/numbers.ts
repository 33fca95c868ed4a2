import { addInts } from '../compile-operators.js';
import { lessThan } from '../equality.js';
import { NixError } from '../errors.js';
import { forceFloat, forceInt } from '../force.js';
import { formatFloat } from '../literal.js';
import { noPos } from '../positions.js';
import { fitsInt64, force, isInt, NixFloat, normalizeInt, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

interface Operation {
  readonly verb: string;
  readonly sign: string;
  readonly floats: (a: number, b: number) => number;
  readonly ints: (a: bigint, b: bigint) => bigint;
  /** What the operands are called in traces: for floats, then for integers. */
  readonly operands: readonly [string, string];
}

/** An operation on two numbers: on floats if either is one, else on 64-bit integers with an error on overflow. */
function compute(operation: Operation, left: Slot, right: Slot): Value {
  const a = force(left);
  const b = force(right);
  const [first, second] = operation.operands;
  if (a instanceof NixFloat || b instanceof NixFloat) {
    const x = forceFloat(a, noPos, `while evaluating the ${first}`);
    return new NixFloat(operation.floats(x, forceFloat(b, noPos, `while evaluating the ${second}`)));
  }
  const x = forceInt(a, noPos, `while evaluating the ${first}`);
  const y = forceInt(b, noPos, `while evaluating the ${second}`);
  const result = operation.ints(BigInt(x), BigInt(y));
  if (!fitsInt64(result)) {
    throw new NixError('eval', `integer overflow in ${operation.verb} ${x} ${operation.sign} ${y}`);
  }
  return normalizeInt(result);
}

const subtraction: Operation = {
  verb: 'subtracting',
  sign: '-',
  floats: (a, b) => a - b,
  ints: (a, b) => a - b,
  operands: ['first argument of the subtraction', 'second argument of the subtraction'],
};

const multiplication: Operation = {
  verb: 'multiplying',
  sign: '*',
  floats: (a, b) => a * b,
  ints: (a, b) => a * b,
  operands: ['first argument of the multiplication', 'second argument of the multiplication'],
};

const division: Operation = {
  verb: 'dividing',
  sign: '/',
  floats: (a, b) => a / b,
  ints: (a, b) => a / b,
  operands: ['first operand of the division', 'second operand of the division'],
};

function add(left: Slot, right: Slot): Value {
  const a = force(left);
  const b = force(right);
  const first = 'while evaluating the first argument of the addition';
  const second = 'while evaluating the second argument of the addition';
  if (a instanceof NixFloat || b instanceof NixFloat) {
    const x = forceFloat(a, noPos, first);
    return new NixFloat(x + forceFloat(b, noPos, second));
  }
  const x = forceInt(a, noPos, first);
  return addInts(x, forceInt(b, noPos, second), noPos);
}

function multiply(left: Slot, right: Slot): Value {
  const a = force(left);
  if (a instanceof NixFloat || force(right) instanceof NixFloat) {
    const x = forceFloat(a, noPos, 'while evaluating the first of the multiplication');
    return new NixFloat(
      x * forceFloat(right, noPos, 'while evaluating the second argument of the multiplication'),
    );
  }
  return compute(multiplication, left, right);
}

function divide(left: Slot, right: Slot): Value {
  force(left);
  const divisor = forceFloat(right, noPos, 'while evaluating the second operand of the division');
  if (divisor === 0) throw new NixError('eval', 'division by zero');
  return compute(division, left, right);
}

/** Rounds a number to an integer, in the manner and with the errors of newer Nix. */
function round(slot: Slot, name: string, rounding: (value: number) => number): Value {
  const value = forceFloat(slot, noPos, `while evaluating the first argument passed to builtins.${name}`);
  const argument = force(slot);
  const rounded = rounding(value);
  const bug = 'Due to a bug (see https://github.com/NixOS/nix/issues/12899)';
  const future = 'Future Nix versions might implement the correct behavior.';
  if (!(rounded >= -(2 ** 63) && rounded < 2 ** 63)) {
    if (isInt(argument)) {
      throw new NixError(
        'eval',
        `${bug} the NixInt argument ${argument} caused undefined behavior in previous Nix versions.\n\t${future}`,
      );
    }
    throw new NixError('eval', `NixFloat argument ${formatFloat(value)} is not in the range of NixInt`);
  }
  const result = normalizeInt(BigInt(rounded));
  if (isInt(argument) && argument !== result) {
    throw new NixError(
      'eval',
      `${bug} a loss of precision occurred in previous Nix versions because the NixInt argument ${argument} was rounded to ${result}.\n\t${future}`,
    );
  }
  return result;
}

function bitwise(name: string, operation: (a: bigint, b: bigint) => bigint): Builtin {
  return define(`__${name}`, 2, (left, right) => {
    const a = forceInt(left!, noPos, `while evaluating the first argument passed to builtins.${name}`);
    const b = forceInt(right!, noPos, `while evaluating the second argument passed to builtins.${name}`);
    return normalizeInt(operation(BigInt(a), BigInt(b)));
  });
}

/** Arithmetic and comparison. */
export function numberBuiltins(): Builtin[] {
  return [
    define('__add', 2, (a, b) => add(a!, b!)),
    define('__sub', 2, (a, b) => compute(subtraction, a!, b!)),
    define('__mul', 2, (a, b) => multiply(a!, b!)),
    define('__div', 2, (a, b) => divide(a!, b!)),
    define('__lessThan', 2, (a, b) => {
      const left = force(a!);
      return lessThan(left, force(b!));
    }),
    define('__ceil', 1, (slot) => round(slot!, 'ceil', Math.ceil)),
    define('__floor', 1, (slot) => round(slot!, 'floor', Math.floor)),
    bitwise('bitAnd', (a, b) => a & b),
    bitwise('bitOr', (a, b) => a | b),
    bitwise('bitXor', (a, b) => a ^ b),
  ];
}
