import { AttrsBuilder } from '../attrs.js';
import { coerceToString, forceStringWith, makeString } from '../coerce.js';
import { ContextCollector, parseContextElement } from '../context.js';
import { NixError } from '../errors.js';
import { displayContextElement, forceAttrs, forceBool, forceList, forceStringNoContext } from '../force.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { intern, sym, symbolName } from '../symbols.js';
import { NixString, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { parseFullStorePath } from './store-paths.js';

function coerced(slot: Slot, builtin: string): { text: string; collector: ContextCollector } {
  const collector = new ContextCollector();
  const error = `while evaluating the argument passed to builtins.${builtin}`;
  return { text: coerceToString(slot, collector, { error }), collector };
}

function withContext(text: string, elements: readonly string[]): Value {
  return elements.length === 0 ? text : new NixString(text, new Set(elements));
}

function unsafeDiscardOutputDependency(slot: Slot): Value {
  const { text, collector } = coerced(slot, 'unsafeDiscardOutputDependency');
  return withContext(
    text,
    collector.sorted().map((element) => (element.startsWith('=') ? element.slice(1) : element)),
  );
}

function addDrvOutputDependencies(slot: Slot): Value {
  const { text, collector } = coerced(slot, 'addDrvOutputDependencies');
  const elements = collector.sorted();
  if (elements.length !== 1) {
    throw new NixError(
      'eval',
      `context of string '${text}' must have exactly one element, but has ${elements.length}`,
    );
  }
  const element = parseContextElement(elements[0]!);
  switch (element.kind) {
    case 'opaque':
      if (!element.path.endsWith('.drv')) {
        throw new NixError('eval', `path '${displayContextElement(element.path)}' is not a derivation`);
      }
      return withContext(text, [`=${element.path}`]);
    case 'built':
      throw new NixError(
        'eval',
        `\`addDrvOutputDependencies\` can only act on derivations, not on a derivation output such as '${element.output}'`,
      );
    case 'drv-deep':
      return withContext(text, elements);
  }
}

interface ContextInfo {
  path: boolean;
  allOutputs: boolean;
  readonly outputs: string[];
}

function getContext(slot: Slot): Value {
  const collector = new ContextCollector();
  forceStringWith(slot, collector, 'while evaluating the argument passed to builtins.getContext');
  const infos = new Map<string, ContextInfo>();
  const infoOf = (path: string): ContextInfo => {
    let info = infos.get(path);
    if (info === undefined) {
      info = { path: false, allOutputs: false, outputs: [] };
      infos.set(path, info);
    }
    return info;
  };
  for (const text of collector.sorted()) {
    const element = parseContextElement(text);
    if (element.kind === 'opaque') infoOf(element.path).path = true;
    else if (element.kind === 'drv-deep') infoOf(element.drv).allOutputs = true;
    else infoOf(element.drv).outputs.push(element.output);
  }
  const result = new AttrsBuilder();
  for (const [path, info] of infos) {
    const attrs = new AttrsBuilder();
    if (info.path) attrs.add(sym.path, true);
    if (info.allOutputs) attrs.add(sym.allOutputs, true);
    if (info.outputs.length > 0) attrs.add(sym.outputs, info.outputs);
    result.add(intern(`${machine.host.storeDir}/${path}`), attrs.finish());
  }
  return result.finish();
}

function appendContext(slot: Slot, contextSlot: Slot): Value {
  const collector = new ContextCollector();
  const text = forceStringWith(
    slot,
    collector,
    'while evaluating the first argument passed to builtins.appendContext',
  );
  const contexts = forceAttrs(
    contextSlot,
    noPos,
    'while evaluating the second argument passed to builtins.appendContext',
  );
  contexts.shape.ids.forEach((id, i) => {
    appendOne(symbolName(id), contexts.values[i]!, contexts.shape.position(i), collector);
  });
  return makeString(text, collector);
}

function appendOne(name: string, slot: Slot, pos: number, collector: ContextCollector): void {
  const path = parseFullStorePath(name);
  if (path === undefined) throw new NixError('eval', `context key '${name}' is not a store path`, pos);
  if (!machine.settings.readOnly) machine.host.ensurePath(path);
  const info = forceAttrs(slot, pos, 'while evaluating the value of a string context');
  const flag = (id: number, key: string): boolean => {
    const value = info.get(id);
    if (value === undefined) return false;
    return forceBool(
      value,
      info.positionOf(id),
      `while evaluating the \`${key}\` attribute of a string context`,
    );
  };
  if (flag(sym.path, 'path')) collector.add(path);
  const isDrv = name.endsWith('.drv');
  if (flag(sym.allOutputs, 'allOutputs')) {
    if (!isDrv) {
      throw new NixError(
        'eval',
        `tried to add all-outputs context of ${name}, which is not a derivation, to a string`,
        pos,
      );
    }
    collector.add(`=${path}`);
  }
  const outputs = info.get(sym.outputs);
  if (outputs === undefined) return;
  const at = info.positionOf(sym.outputs);
  const list = forceList(outputs, at, 'while evaluating the `outputs` attribute of a string context');
  if (list.length > 0 && !isDrv) {
    throw new NixError(
      'eval',
      `tried to add derivation output context of ${name}, which is not a derivation, to a string`,
      pos,
    );
  }
  for (const output of list) {
    const outputName = forceStringNoContext(
      output,
      at,
      'while evaluating an output name within a string context',
    );
    collector.add(`!${outputName}!${path}`);
  }
}

/** Builtins on the contexts of strings. */
export function contextBuiltins(): Builtin[] {
  return [
    define('__unsafeDiscardStringContext', 1, (slot) => coerced(slot!, 'unsafeDiscardStringContext').text),
    define('__hasContext', 1, (slot) => {
      const collector = new ContextCollector();
      forceStringWith(slot!, collector, 'while evaluating the argument passed to builtins.hasContext');
      return collector.context !== undefined;
    }),
    define('__unsafeDiscardOutputDependency', 1, (slot) => unsafeDiscardOutputDependency(slot!)),
    define('__addDrvOutputDependencies', 1, (slot) => addDrvOutputDependencies(slot!)),
    define('__getContext', 1, (slot) => getContext(slot!)),
    define('__appendContext', 2, (slot, context) => appendContext(slot!, context!)),
  ];
}
