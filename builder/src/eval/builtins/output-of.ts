import { parseContextElement } from '../context.js';
import { NixError } from '../errors.js';
import { displayContextElement, forceString, forceStringNoContext } from '../force.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { placeholderOf } from '../realise.js';
import { NixString, type Slot, stringText, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { outputString, readStoreDerivation } from './derivation-outputs.js';

/** A derivation, or the output of one that is a derivation itself, as a string names it. */
function derivationReference(slot: Slot): string {
  const error = 'while evaluating the first argument to builtins.outputOf';
  const value = forceString(slot, noPos, error);
  const text = stringText(value);
  const context = value instanceof NixString ? [...value.context] : [];
  if (context.length !== 1) {
    throw new NixError(
      'eval',
      `string '${text}' has ${context.length} entries in its context. It should only have exactly one entry`,
    ).trace(noPos, error);
  }
  const [only] = context as [string];
  const element = parseContextElement(only);
  if (element.kind === 'drv-deep') {
    throw new NixError(
      'eval',
      `string '${text}' has a context which refers to a complete source and binary closure. This is not supported at this time`,
    ).trace(noPos, error);
  }
  const expected = element.kind === 'opaque' ? displayContextElement(element.path) : namedOutput(element);
  if (text === expected) return only;
  const message =
    element.kind === 'opaque'
      ? `path string '${text}' has context with the different path '${expected}'`
      : `string '${text}' has context with the output '${element.output}' from derivation '${displayContextElement(element.drv)}', but the string is not the right placeholder for this derivation output. It should be '${expected}'`;
  throw new NixError('eval', message).trace(noPos, error);
}

/** The path of an output where it is known, else its placeholder. */
function namedOutput({ drv, output }: { readonly drv: string; readonly output: string }): string {
  const known = parseContextElement(drv).kind === 'opaque' && drv.endsWith('.drv');
  return known
    ? outputString(drv, readStoreDerivation(drv), output).text
    : placeholderOf(parseContextElement(drv), output);
}

function outputOf(reference: Slot, nameSlot: Slot): Value {
  const drv = derivationReference(reference);
  const output = forceStringNoContext(
    nameSlot,
    noPos,
    'while evaluating the second argument to builtins.outputOf',
  );
  return new NixString(namedOutput({ drv, output }), new Set([`!${output}!${drv}`]));
}

/** `outputOf`, where the experimental feature it belongs to is on. */
export function outputOfBuiltins(): Builtin[] {
  if (!machine.settings.experimentalFeatures.has('dynamic-derivations')) return [];
  return [define('__outputOf', 2, (reference, name) => outputOf(reference!, name!))];
}
