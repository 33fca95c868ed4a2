import { Attrs, AttrsBuilder } from './attrs.js';
import { call1 } from './call.js';
import { NixError } from './errors.js';
import { printIdentifier } from './literal.js';
import { sym, symbolName } from './symbols.js';
import { force, Lambda, type Slot, type Value } from './values.js';

/**
 * Calls a function that takes a set with what of `args` it asks for, as the command line does to whatever it
 * meets; anything else is given back as it is.
 */
export function autoCall(args: Attrs, slot: Slot): Value {
  const value = force(slot);
  if (value instanceof Attrs) {
    const functor = value.get(sym.functor);
    if (functor === undefined) return value;
    return autoCall(args, call1(force(functor), value, value.pos));
  }
  const formals = value instanceof Lambda ? value.code.expr.formals : undefined;
  if (formals === undefined) return value;
  const pos = (value as Lambda).code.expr.pos;
  if (formals.ellipsis) return call1(value, args, pos);
  const builder = new AttrsBuilder();
  for (const formal of formals.list) {
    const given = args.get(formal.name);
    if (given !== undefined) builder.add(formal.name, given);
    else if (formal.fallback === undefined) {
      throw new NixError(
        'missing-argument',
        `cannot evaluate a function that has an argument without a value ('${printIdentifier(symbolName(formal.name))}')\n` +
          'Nix attempted to evaluate a function as a top level expression; in\n' +
          'this case it must have its arguments supplied either by default\n' +
          "values, or passed explicitly with '--arg' or '--argstr'. See\n" +
          'https://nix.dev/manual/nix/stable/language/syntax.html#functions.',
        formal.pos,
      );
    }
  }
  return call1(value, builder.finish(), pos);
}
