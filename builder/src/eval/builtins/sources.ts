import type { Attrs } from '../attrs.js';
import { callFunction } from '../call.js';
import { baseName, coerceToPath, forceStringWith, makeString } from '../coerce.js';
import { type Context, ContextCollector, parseContextElement } from '../context.js';
import { NixError, traced } from '../errors.js';
import { forceAttrs, forceBool, forceFunction, forceStringNoContext } from '../force.js';
import type { FileType, PathToAdd } from '../host.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { realiseContext, rewrite } from '../realise.js';
import { symbolName } from '../symbols.js';
import { force, NixString, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { fixedOutputStorePath } from './derivation-outputs.js';
import { isInStore, parseFullStorePath, splitStorePath, storeNameFault } from './store-paths.js';
import { parseNixHash } from './strings.js';

/** A store path as a string that depends on it. */
export function storePathString(storePath: string): NixString {
  return new NixString(`${machine.host.storeDir}/${storePath}`, new Set([storePath]));
}

function toFile(nameSlot: Slot, slot: Slot): Value {
  const name = forceStringNoContext(
    nameSlot,
    noPos,
    'while evaluating the first argument passed to builtins.toFile',
  );
  const collector = new ContextCollector();
  const contents = forceStringWith(
    slot,
    collector,
    'while evaluating the second argument passed to builtins.toFile',
  );
  const references: string[] = [];
  for (const text of collector.sorted()) {
    const element = parseContextElement(text);
    if (element.kind === 'opaque') references.push(element.path);
    else {
      throw new NixError(
        'eval',
        `files created by builtins.toFile may not reference derivations, but ${name} references ${text}`,
      );
    }
  }
  const fault = storeNameFault(name);
  if (fault !== undefined) throw new NixError('eval', fault);
  return storePathString(machine.host.addText(name, contents, references, machine.settings.readOnly));
}

/** A filter function of the language as the store asks it. */
function makeFilter(callee: Slot | undefined): PathToAdd['filter'] {
  if (callee === undefined) return undefined;
  return (path: string, type: FileType): boolean =>
    forceBool(
      callFunction(force(callee), [path, type], noPos),
      noPos,
      'while evaluating the return value of the path filter function',
    );
}

interface AddPathRequest {
  readonly path: string;
  readonly name: string;
  readonly filter: Slot | undefined;
  readonly method: 'flat' | 'recursive';
  readonly sha256: string | undefined;
  readonly context: Context | undefined;
}

function addPath(request: AddPathRequest): Value {
  const { host, settings } = machine;
  try {
    let { path } = request;
    let references: readonly string[] = [];
    if (isInStore(path) && request.context !== undefined) {
      path = rewrite(path, realiseContext(request.context));
      const inside = splitStorePath(path);
      if (inside !== undefined && host.isValidPath(inside.storePath)) {
        references = host.queryReferences(inside.storePath);
      }
    }
    const expected =
      request.sha256 === undefined
        ? undefined
        : fixedOutputStorePath(request.name, request.method, parseNixHash(request.sha256, 'sha256'));
    if (expected !== undefined && host.isValidPath(expected)) return storePathString(expected);
    const added = host.addPath({
      path: host.resolveSymlinks(path),
      name: request.name,
      method: request.method,
      filter: makeFilter(request.filter),
      references,
      dryRun: settings.readOnly,
    });
    if (expected !== undefined && expected !== added) {
      throw new NixError('eval', `store path mismatch in (possibly filtered) path added from '${path}'`);
    }
    return storePathString(added);
  } catch (error) {
    throw traced(error, noPos, `while adding path '${request.path}'`);
  }
}

function filterSource(filter: Slot, slot: Slot): Value {
  const collector = new ContextCollector();
  const path = coerceToPath(
    slot,
    collector,
    "while evaluating the second argument (the path to filter) passed to 'builtins.filterSource'",
  );
  forceFunction(filter, noPos, 'while evaluating the first argument passed to builtins.filterSource');
  return addPath({
    path,
    name: baseName(path),
    filter,
    method: 'recursive',
    sha256: undefined,
    context: collector.context,
  });
}

function pathBuiltin(slot: Slot): Value {
  const attrs: Attrs = forceAttrs(slot, noPos, "while evaluating the argument passed to 'builtins.path'");
  const collector = new ContextCollector();
  let path: string | undefined;
  let name = '';
  let filter: Slot | undefined;
  let method: 'flat' | 'recursive' = 'recursive';
  let sha256: string | undefined;
  attrs.shape.ids.forEach((id, i) => {
    const value = attrs.values[i]!;
    const pos = attrs.shape.position(i);
    const attribute = symbolName(id);
    const context = `while evaluating the \`${attribute}\` attribute passed to builtins.path`;
    switch (attribute) {
      case 'path':
        path = coerceToPath(
          value,
          collector,
          "while evaluating the 'path' attribute passed to 'builtins.path'",
          pos,
        );
        break;
      case 'name':
        name = forceStringNoContext(value, pos, context);
        break;
      case 'filter':
        forceFunction(value, pos, 'while evaluating the `filter` parameter passed to builtins.path');
        filter = value;
        break;
      case 'recursive':
        method = forceBool(value, pos, context) ? 'recursive' : 'flat';
        break;
      case 'sha256':
        sha256 = forceStringNoContext(value, pos, context);
        break;
      default:
        throw new NixError('eval', `unsupported argument '${attribute}' to 'builtins.path'`, pos);
    }
  });
  if (path === undefined) {
    throw new NixError('eval', "missing required 'path' attribute in the first argument to 'builtins.path'");
  }
  const { context } = collector;
  return addPath({ path, name: name === '' ? baseName(path) : name, filter, method, sha256, context });
}

function storePathOf(slot: Slot): Value {
  const { host, settings } = machine;
  if (settings.pureEval) {
    throw new NixError('eval', "'builtins.storePath' is not allowed in pure evaluation mode");
  }
  const collector = new ContextCollector();
  let path = coerceToPath(
    slot,
    collector,
    "while evaluating the first argument passed to 'builtins.storePath'",
  );
  if (parseFullStorePath(path) === undefined) path = host.resolveSymlinks(path);
  const inside = splitStorePath(path);
  if (inside === undefined) throw new NixError('eval', `path '${path}' is not in the Nix store`);
  if (!settings.readOnly) host.ensurePath(inside.storePath);
  collector.add(inside.storePath);
  return makeString(path, collector);
}

/** Builtins that put sources into the store, or take what is in there. */
export function sourceBuiltins(): Builtin[] {
  return [
    define('__storePath', 1, (slot) => storePathOf(slot!)),
    define('__toFile', 2, (name, slot) => toFile(name!, slot!)),
    define('__filterSource', 2, (filter, slot) => filterSource(filter!, slot!)),
    define('__path', 1, (slot) => pathBuiltin(slot!)),
  ];
}
