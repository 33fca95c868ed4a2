import { derivationReferences, formatDerivation } from '@larder/signing/derivation';
import { outputPlaceholder } from '@larder/signing/derivation-hash';
import type { StorePath } from '@larder/signing/store-path';
import { type Attrs, AttrsBuilder } from '../attrs.js';
import { NixError, traced } from '../errors.js';
import { forceAttrs, forceBool, forceStringNoContext, requireAttr } from '../force.js';
import { machine } from '../machine.js';
import { formatPosition, noPos } from '../positions.js';
import { intern, sym, symbolName } from '../symbols.js';
import { force, NixString, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { DerivationBuilder, type DerivationDraft } from './derivation-builder.js';
import { outputString, rememberModulo, storeDir } from './derivation-outputs.js';
import { storeNameFault } from './store-paths.js';

function collectAttributes(name: string, attrs: Attrs): DerivationDraft {
  const fault = storeNameFault(name);
  if (fault !== undefined) {
    throw new NixError('eval', `invalid derivation name: ${fault}. Please pass a different 'name'.`);
  }
  const flag = (id: number, key: string): boolean => {
    const slot = attrs.get(id);
    const context = `while evaluating the \`${key}\` attribute passed to builtins.derivationStrict`;
    return slot !== undefined && forceBool(slot, noPos, context);
  };
  const structured = flag(sym.structuredAttrs, '__structuredAttrs');
  const ignoreNulls = flag(sym.ignoreNulls, '__ignoreNulls');
  const builder = new DerivationBuilder(name, structured);
  for (const index of attrs.shape.order()) {
    const id = attrs.shape.ids[index]!;
    if (id === sym.ignoreNulls) continue;
    const slot = attrs.values[index]!;
    const pos = attrs.shape.position(index);
    try {
      if (ignoreNulls && force(slot) === null) continue;
      builder.add(id, slot, pos);
    } catch (error) {
      throw traced(error, pos, `while evaluating attribute '${symbolName(id)}' of derivation '${name}'`);
    }
  }
  return builder.finish();
}

/** Puts a derivation into the store; gives the set of its path and outputs. */
function instantiate({ derivation, variables }: DerivationDraft): Value {
  const { host, settings } = machine;
  const contents = formatDerivation(derivation, storeDir(), { variables });
  const references = derivationReferences(derivation);
  const drvPath = host.addText(`${derivation.name}.drv`, contents, references, settings.readOnly);
  rememberModulo(drvPath as StorePath, derivation, variables);
  const result = new AttrsBuilder().add(
    sym.drvPath,
    new NixString(`${host.storeDir}/${drvPath}`, new Set([`=${drvPath}`])),
  );
  for (const output of derivation.outputs.keys()) {
    result.add(intern(output), outputString(drvPath, derivation, output));
  }
  return result.finish();
}

function derivationStrict(slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the argument passed to builtins.derivationStrict');
  const nameSlot = requireAttr(
    sym.name,
    'name',
    attrs,
    'in the attrset passed as argument to builtins.derivationStrict',
  );
  const pos = attrs.positionOf(sym.name);
  let name: string;
  try {
    name = forceStringNoContext(
      nameSlot,
      noPos,
      'while evaluating the `name` attribute passed to builtins.derivationStrict',
    );
  } catch (error) {
    throw traced(error, pos, "while evaluating the derivation attribute 'name'");
  }
  try {
    return instantiate(collectAttributes(name, attrs));
  } catch (error) {
    if (!(error instanceof NixError)) throw error;
    const place = formatPosition(pos);
    throw error.trace(
      noPos,
      `while evaluating derivation '${name}'\n  whose name attribute is located at ${place}`,
      true,
    );
  }
}

/** The builtins that make derivations. */
export function derivationBuiltins(): Builtin[] {
  return [
    define('derivationStrict', 1, (slot) => derivationStrict(slot!)),
    define('placeholder', 1, (slot) =>
      outputPlaceholder(
        forceStringNoContext(
          slot!,
          noPos,
          'while evaluating the first argument passed to builtins.placeholder',
        ),
      ),
    ),
  ];
}
