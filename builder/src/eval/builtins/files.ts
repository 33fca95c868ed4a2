import { type Attrs, AttrsBuilder } from '../attrs.js';
import { call1 } from '../call.js';
import { coerceToPath, coerceToString, makeString } from '../coerce.js';
import { type Context, ContextCollector } from '../context.js';
import { NixError, traced } from '../errors.js';
import { forceAttrs, forceList, forceStringNoContext, requireAttr } from '../force.js';
import { valueToJson } from '../json.js';
import { jsonToValue } from '../json-reader.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { realiseContext, realisePath, rewrite } from '../realise.js';
import { findFile } from '../search-path.js';
import type { SearchPathEntry } from '../search-path-entry.js';
import { intern, sym } from '../symbols.js';
import { force, isString, NixPath, NixString, type Slot, stringText, type Value } from '../values.js';
import { valueToXml } from '../xml.js';
import { type Builtin, define } from './define.js';
import { parseStoreDerivation } from './derivation-outputs.js';
import { isInStore, parseFullStorePath, splitStorePath } from './store-paths.js';
import { hashAlgorithm, hashBytes } from './strings.js';

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

/** Builtins on files and paths, and on what is written in files. */
export function fileBuiltins(): Builtin[] {
  return [
    define('import', 1, (path) => doImport(path!, undefined)),
    define('scopedImport', 2, (scope, path) => doImport(path!, scope)),
    define('__getEnv', 1, (slot) => getEnv(slot!)),
    define('__toPath', 1, (slot) => toPath(slot!)),
    define('__pathExists', 1, (slot) => pathExists(slot!)),
    define('baseNameOf', 1, (slot) => baseNameOf(slot!)),
    define('dirOf', 1, (slot) => dirOf(slot!)),
    define('__readFile', 1, (slot) => readFile(slot!)),
    define('__readDir', 1, (slot) => readDir(slot!)),
    define('__readFileType', 1, (slot) => readFileType(slot!)),
    define('__hashFile', 2, (algorithm, slot) => hashFile(algorithm!, slot!)),
    define('__findFile', 2, (list, slot) => findFileIn(list!, slot!)),
    define('__toJSON', 1, (slot) => toJson(slot!)),
    define('__fromJSON', 1, (slot) => fromJson(slot!)),
    define('__toXML', 1, (slot) => toXml(slot!)),
  ];
}
