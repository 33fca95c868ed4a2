import { Attrs } from './attrs.js';
import { autoCall } from './auto-call.js';
import { parseFullStorePath } from './builtins/store-paths.js';
import { coerceToString } from './coerce.js';
import { ContextCollector } from './context.js';
import { NixError, traced } from './errors.js';
import { enterDepth, forceBool, forceString, isDerivation, leaveDepth } from './force.js';
import { noPos } from './positions.js';
import { intern, sym, symbolName } from './symbols.js';
import { force, type Slot, stringText } from './values.js';

/** A derivation an expression evaluated to. */
export interface FoundDerivation {
  readonly attrPath: string;
  /** Full store path of the `.drv`. */
  readonly drvPath: string;
  readonly outputName: string;
}

class Finder {
  readonly found: FoundDerivation[] = [];
  private readonly args: Attrs;
  private readonly seen = new Set<Attrs>();

  constructor(args: Attrs) {
    this.args = args;
  }

  private toFound(attrs: Attrs, attrPath: string): FoundDerivation {
    const nameSlot = attrs.get(sym.name);
    if (nameSlot === undefined) throw new NixError('type', 'derivation name missing');
    forceString(nameSlot, noPos, "while evaluating the 'name' attribute of a derivation");
    const slot = attrs.get(sym.drvPath);
    if (slot === undefined) throw new NixError('other', "derivation does not contain a 'drvPath' attribute");
    const pos = attrs.positionOf(sym.drvPath);
    const error = "while evaluating the 'drvPath' attribute of a derivation";
    const drvPath = coerceToString(slot, new ContextCollector(), { error, pos, copy: false });
    const storePath = parseFullStorePath(drvPath);
    if (storePath === undefined) {
      throw new NixError('eval', `path '${drvPath}' is not in the Nix store`).trace(pos, error);
    }
    if (!storePath.endsWith('.drv')) {
      throw new NixError('other', `store path '${storePath}' is not a valid derivation path`).trace(
        pos,
        error,
      );
    }
    const outputSlot = attrs.get(sym.outputName);
    const outputName =
      outputSlot === undefined
        ? ''
        : stringText(forceString(outputSlot, noPos, 'while evaluating the output name of a derivation'));
    if (outputName === '') {
      throw new NixError('other', `derivation '${drvPath}' lacks an 'outputName' attribute`);
    }
    return { attrPath, drvPath, outputName };
  }

  /** Takes a derivation; false if the value is none. */
  private take(slot: Slot, attrPath: string): boolean {
    const value = force(slot);
    if (!isDerivation(value)) return false;
    if (!this.seen.has(value)) {
      this.seen.add(value);
      this.found.push(this.toFound(value, attrPath));
    }
    return true;
  }

  collect(slot: Slot, attrPath: string): void {
    enterDepth(noPos);
    const value = autoCall(this.args, slot);
    if (!this.take(value, attrPath)) {
      if (value instanceof Attrs) this.collectSet(value, attrPath);
      else if (Array.isArray(value)) {
        value.forEach((item, index) => {
          const path = join(attrPath, index.toString());
          if (!this.take(item, path)) this.collect(item, path);
        });
      } else {
        throw new NixError(
          'type',
          'expression does not evaluate to a derivation (or a set or list of those)',
        );
      }
    }
    leaveDepth();
  }

  private collectSet(attrs: Attrs, attrPath: string): void {
    const combine = attrs.has(intern('_combineChannels'));
    for (const index of attrs.shape.order()) {
      const name = symbolName(attrs.shape.ids[index]!);
      if (!/^[A-Za-z_][A-Za-z0-9_+-]*$/.test(name)) continue;
      try {
        this.collectAttribute(attrs.values[index]!, join(attrPath, name), combine);
      } catch (error) {
        throw traced(error, attrs.shape.position(index), `while evaluating the attribute '${name}'`);
      }
    }
  }

  private collectAttribute(slot: Slot, attrPath: string, combine: boolean): void {
    if (combine) {
      this.collect(slot, attrPath);
      return;
    }
    if (this.take(slot, attrPath)) return;
    const value = force(slot);
    if (!(value instanceof Attrs)) return;
    const recurse = value.get(sym.recurseForDerivations);
    if (recurse === undefined) return;
    const pos = value.positionOf(sym.recurseForDerivations);
    if (forceBool(recurse, pos, 'while evaluating the attribute `recurseForDerivations`')) {
      this.collect(value, attrPath);
    }
  }
}

const join = (prefix: string, name: string): string => (prefix === '' ? name : `${prefix}.${name}`);

/** All derivations in a value: itself, or those of its sets and lists that ask to be looked into. */
export function findDerivations(slot: Slot, args: Attrs): FoundDerivation[] {
  const finder = new Finder(args);
  finder.collect(slot, '');
  return finder.found;
}
