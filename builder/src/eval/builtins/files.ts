import { type Attrs, AttrsBuilder } from '../attrs.js';
import { call1, callFunction } from '../call.js';
import { baseName, coerceToPath, coerceToString, forceStringWith, makeString } from '../coerce.js';
import { type Context, ContextCollector, parseContextElement } from '../context.js';
import { NixError, traced } from '../errors.js';
import {
  forceAttrs,
  forceBool,
  forceFunction,
  forceList,
  forceStringNoContext,
  requireAttr,
} from '../force.js';
import type { FileType, PathToAdd } from '../host.js';
import { jsonToValue, valueToJson } from '../json.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { realiseContext, realisePath, rewrite } from '../realise.js';
import { findFile } from '../search-path.js';
import type { SearchPathEntry } from '../search-path-entry.js';
import { intern, sym, symbolName } from '../symbols.js';
import { force, isString, NixPath, NixString, type Slot, stringText, type Value } from '../values.js';
import { valueToXml } from '../xml.js';
import { type Builtin, define } from './define.js';
import { fixedOutputStorePath, parseStoreDerivation } from './derivation-outputs.js';
import { isInStore, parseFullStorePath, splitStorePath, storeNameFault } from './store-paths.js';
import { hashAlgorithm, hashBytes, parseNixHash } from './strings.js';

/** A store path as a string that depends on it. */
export function storePathString(storePath: string): NixString {
  return new NixString(`${machine.host.storeDir}/${storePath}`, new Set([storePath]));
}

function doImport(pathSlot: Slot, scope: Slot | undefined): Value {
  const path = realisePath(pathSlot, 'none');
  const storePath = parseFullStorePath(path);
  if (storePath?.endsWith('.drv') === true && machine.host.isValidPath(storePath)) {
    return importDerivation(path, storePath);
  }
  if (scope === undefined) return machine.importer.importFile(path);
  const attrs = forceAttrs(
    scope,
    noPos,
    'while evaluating the first argument passed to builtins.scopedImport',
  );
  return machine.importer.importScoped(path, attrs);
}

/** Importing a `.drv` gives its outputs as a derivation set. */
function importDerivation(path: string, storePath: string): Value {
  const { name, outputs } = parseStoreDerivation(storePath);
  const drvPath = new NixString(path, new Set([`=${storePath}`]));
  const builder = new AttrsBuilder().add(sym.drvPath, drvPath).add(sym.name, name);
  for (const [output, value] of outputs) builder.add(intern(output), value);
  builder.add(sym.outputs, [...outputs.keys()]);
  const wrap = force(machine.importer.builtin('__importedDrvToDerivation'));
  return forceAttrs(
    call1(wrap, builder.finish(), noPos),
    noPos,
    'while calling imported-drv-to-derivation.nix',
  );
}

function pathExists(slot: Slot): Value {
  try {
    const value = force(slot);
    const text = isString(value) ? stringText(value) : '';
    const mustBeDirectory = text.endsWith('/') || text.endsWith('/.');
    const path = realisePath(slot, mustBeDirectory ? 'full' : 'ancestors');
    const type = machine.host.fileType(path);
    return type !== undefined && (!mustBeDirectory || type === 'directory');
  } catch (error) {
    if (error instanceof NixError && error.kind === 'restricted-path') return false;
    throw error;
  }
}

/** The last component, by the rule Nix has always had: one trailing slash is dropped. */
function legacyBaseName(path: string): string {
  if (path === '') return '';
  let last = path.length - 1;
  if (path[last] === '/' && last > 0) last--;
  return path.slice(path.lastIndexOf('/', last) + 1, last + 1);
}

function baseNameOf(slot: Slot): Value {
  const collector = new ContextCollector();
  const error = 'while evaluating the first argument passed to builtins.baseNameOf';
  return makeString(legacyBaseName(coerceToString(slot, collector, { error, copy: false })), collector);
}

function dirOf(slot: Slot): Value {
  const value = force(slot);
  if (value instanceof NixPath) {
    const end = value.path.lastIndexOf('/');
    return new NixPath(end <= 0 ? '/' : value.path.slice(0, end));
  }
  const collector = new ContextCollector();
  const error = "while evaluating the first argument passed to 'builtins.dirOf'";
  const path = coerceToString(value, collector, { error, copy: false });
  const slash = path.lastIndexOf('/');
  return makeString(slash < 0 ? '.' : slash === 0 ? '/' : path.slice(0, slash), collector);
}

/** The references of a store path that its file's contents mention. */
function referencesIn(path: string, contents: string): Context | undefined {
  const { host } = machine;
  const inside = isInStore(path) ? splitStorePath(path) : undefined;
  if (inside === undefined || !host.isValidPath(inside.storePath)) return undefined;
  const found = host
    .queryReferences(inside.storePath)
    .filter((reference) => contents.includes(reference.slice(0, 32)));
  return found.length === 0 ? undefined : new Set(found);
}

function readFile(slot: Slot): Value {
  const path = realisePath(slot);
  const contents = machine.host.readFile(path);
  if (contents.includes('\0')) {
    throw new NixError('eval', `the contents of the file '${path}' cannot be represented as a Nix string`);
  }
  const context = referencesIn(path, contents);
  return context === undefined ? contents : new NixString(contents, context);
}

const directories = new WeakMap<object, Map<string, Attrs>>();

/** Directories are read once, but for those of the store: a build may make one meanwhile. */
function readDir(slot: Slot): Value {
  const path = realisePath(slot);
  const { host } = machine;
  let known = directories.get(host);
  if (known === undefined) {
    known = new Map();
    directories.set(host, known);
  }
  const found = known.get(path);
  if (found !== undefined) return found;
  const builder = new AttrsBuilder();
  for (const [name, type] of host.readDirectory(path)) builder.add(intern(name), type);
  const attrs = builder.finish();
  if (!isInStore(path)) known.set(path, attrs);
  return attrs;
}

function readFileType(slot: Slot): Value {
  const path = realisePath(slot, 'ancestors');
  const type = machine.host.fileType(path);
  if (type === undefined) throw new NixError('other', `path '${path}' does not exist`);
  return type;
}

function hashFile(algorithm: Slot, slot: Slot): Value {
  const name = forceStringNoContext(
    algorithm,
    noPos,
    'while evaluating the first argument passed to builtins.hashFile',
  );
  return hashBytes(hashAlgorithm(name), machine.host.readFile(realisePath(slot)));
}

function searchPathEntry(slot: Slot): SearchPathEntry {
  const attrs = forceAttrs(
    slot,
    noPos,
    'while evaluating an element of the list passed to builtins.findFile',
  );
  const prefixSlot = attrs.get(sym.prefix);
  const prefix =
    prefixSlot === undefined
      ? ''
      : forceStringNoContext(
          prefixSlot,
          noPos,
          'while evaluating the `prefix` attribute of an element of the list passed to builtins.findFile',
        );
  const collector = new ContextCollector();
  const path = coerceToString(
    requireAttr(sym.path, 'path', attrs, 'in an element of the __nixPath'),
    collector,
    {
      error: 'while evaluating the `path` attribute of an element of the list passed to builtins.findFile',
      copy: false,
    },
  );
  const { context } = collector;
  if (context === undefined) return { prefix, path };
  return { prefix, path: rewrite(path, realiseContext(context)) };
}

function findFileIn(list: Slot, slot: Slot): Value {
  const entries = forceList(
    list,
    noPos,
    'while evaluating the first argument passed to builtins.findFile',
  ).map(searchPathEntry);
  const path = forceStringNoContext(
    slot,
    noPos,
    'while evaluating the second argument passed to builtins.findFile',
  );
  return new NixPath(findFile(entries, path));
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

function fromJson(slot: Slot): Value {
  const text = forceStringNoContext(
    slot,
    noPos,
    'while evaluating the first argument passed to builtins.fromJSON',
  );
  try {
    return jsonToValue(text);
  } catch (error) {
    const malformed = error instanceof NixError && error.text.startsWith('[json.exception');
    throw malformed ? traced(error, noPos, 'while decoding a JSON string') : error;
  }
}

function toJson(slot: Slot): Value {
  const collector = new ContextCollector();
  return makeString(valueToJson(slot, collector, { strict: true, copyToStore: true }), collector);
}

function toXml(slot: Slot): Value {
  const collector = new ContextCollector();
  return makeString(valueToXml(slot, collector, { strict: true, location: false }), collector);
}

function toPath(slot: Slot): Value {
  const collector = new ContextCollector();
  const error = 'while evaluating the first argument passed to builtins.toPath';
  return makeString(coerceToPath(slot, collector, error), collector);
}

function getEnv(slot: Slot): Value {
  const name = forceStringNoContext(
    slot,
    noPos,
    'while evaluating the first argument passed to builtins.getEnv',
  );
  const { settings, host } = machine;
  return settings.restrictEval || settings.pureEval ? '' : (host.environment(name) ?? '');
}

/** Builtins on files, paths and what is written to the store. */
export function fileBuiltins(): Builtin[] {
  return [
    define('import', 1, (path) => doImport(path!, undefined)),
    define('scopedImport', 2, (scope, path) => doImport(path!, scope)),
    define('__getEnv', 1, (slot) => getEnv(slot!)),
    define('__toPath', 1, (slot) => toPath(slot!)),
    define('__storePath', 1, (slot) => storePathOf(slot!)),
    define('__pathExists', 1, (slot) => pathExists(slot!)),
    define('baseNameOf', 1, (slot) => baseNameOf(slot!)),
    define('dirOf', 1, (slot) => dirOf(slot!)),
    define('__readFile', 1, (slot) => readFile(slot!)),
    define('__readDir', 1, (slot) => readDir(slot!)),
    define('__readFileType', 1, (slot) => readFileType(slot!)),
    define('__hashFile', 2, (algorithm, slot) => hashFile(algorithm!, slot!)),
    define('__findFile', 2, (list, slot) => findFileIn(list!, slot!)),
    define('__toFile', 2, (name, slot) => toFile(name!, slot!)),
    define('__filterSource', 2, (filter, slot) => filterSource(filter!, slot!)),
    define('__path', 1, (slot) => pathBuiltin(slot!)),
    define('__toJSON', 1, (slot) => toJson(slot!)),
    define('__fromJSON', 1, (slot) => fromJson(slot!)),
    define('__toXML', 1, (slot) => toXml(slot!)),
  ];
}
