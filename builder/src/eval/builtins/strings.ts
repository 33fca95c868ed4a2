import { createHash } from 'node:crypto';
import { type HashAlgorithm, isHashAlgorithm, parseHash } from '@larder/signing/hash';
import { AttrsBuilder } from '../attrs.js';
import { byteTextToBuffer } from '../byte-text.js';
import { coerceToString, forceStringWith, makeString } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { NixError } from '../errors.js';
import { forceAttrs, forceInt, forceList, forceString, forceStringNoContext, requireAttr } from '../force.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { compileRegex, type Regex } from '../regex.js';
import { RegexError } from '../regex-parse.js';
import { intern, sym } from '../symbols.js';
import { force, NixString, type Slot, stringText, type Value } from '../values.js';
import { compareVersions, parseDrvName, splitVersion } from '../versions.js';
import { type Builtin, define } from './define.js';

const plain = (slot: Slot, which: string, builtin: string): string =>
  forceStringNoContext(slot, noPos, `while evaluating the ${which} argument passed to builtins.${builtin}`);

function coerceMoreToString(slot: Slot): Value {
  const collector = new ContextCollector();
  const error = 'while evaluating the first argument passed to builtins.toString';
  return makeString(coerceToString(slot, collector, { error, more: true, copy: false }), collector);
}

function substring(startSlot: Slot, lengthSlot: Slot, slot: Slot): Value {
  const start = forceInt(
    startSlot,
    noPos,
    'while evaluating the first argument (the start offset) passed to builtins.substring',
  );
  if (start < 0) throw new NixError('eval', "negative start position in 'substring'");
  const length = forceInt(
    lengthSlot,
    noPos,
    'while evaluating the second argument (the substring length) passed to builtins.substring',
  );
  if (length === 0) {
    const value = force(slot);
    if (value instanceof NixString) return new NixString('', value.context);
    if (typeof value === 'string') return '';
  }
  const collector = new ContextCollector();
  const error = 'while evaluating the third argument (the string) passed to builtins.substring';
  const text = coerceToString(slot, collector, { error });
  const from = Number(start);
  const to = length < 0 ? text.length : from + Number(length);
  return makeString(text.slice(from, to), collector);
}

function stringLength(slot: Slot): Value {
  const error = 'while evaluating the argument passed to builtins.stringLength';
  return coerceToString(slot, new ContextCollector(), { error }).length;
}

/** The algorithm a builtin was asked for by name. */
export function hashAlgorithm(name: string): HashAlgorithm {
  if (isHashAlgorithm(name)) return name;
  throw new NixError(
    'usage',
    `unknown hash algorithm '${name}', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'`,
  );
}

/** The hash of bytes in base 16. */
export function hashBytes(algorithm: HashAlgorithm, text: string): string {
  return createHash(algorithm).update(byteTextToBuffer(text)).digest('hex');
}

function hashString(algorithm: Slot, slot: Slot): Value {
  const name = plain(algorithm, 'first', 'hashString');
  const known = hashAlgorithm(name);
  const text = forceString(slot, noPos, 'while evaluating the second argument passed to builtins.hashString');
  return hashBytes(known, stringText(text));
}

const formats = { base16: 'base16', nix32: 'nix32', base32: 'nix32', base64: 'base64', sri: 'sri' } as const;

function convertHash(slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the first argument passed to builtins.convertHash');
  const text = (value: Slot, name: string): string =>
    forceStringNoContext(value, noPos, `while evaluating the attribute '${name}'`);
  const required = (name: string): string =>
    text(requireAttr(intern(name), name, attrs, `while locating the attribute '${name}'`), name);
  const hash = required('hash');
  const algorithmSlot = attrs.get(intern('hashAlgo'));
  const algorithm = algorithmSlot === undefined ? undefined : hashAlgorithm(text(algorithmSlot, 'hashAlgo'));
  const format = required('toHashFormat');
  if (!Object.hasOwn(formats, format)) {
    throw new NixError(
      'usage',
      `unknown hash format '${format}', expect 'base16', 'base32', 'base64', or 'sri'`,
    );
  }
  if (format === 'base32') {
    machine.host.log('warning: "base32" is a deprecated alias for hash format "nix32".');
  }
  const notation = formats[format as keyof typeof formats];
  return parseNixHash(hash, algorithm).format(notation, { prefix: false });
}

/** Reads a hash with Nix's message where it is none. */
export function parseNixHash(text: string, algorithm?: HashAlgorithm): ReturnType<typeof parseHash> {
  try {
    return parseHash(text, algorithm);
  } catch {
    if (algorithm === undefined && !/[-:]/.test(text)) {
      throw new NixError(
        'usage',
        `hash '${text}' does not include a type, nor is the type otherwise known from context`,
      );
    }
    const body = text.replace(/^[a-z0-9]+[-:]/, '');
    const kind = algorithm ?? text.split(/[-:]/)[0]!;
    throw new NixError('usage', `hash '${body}' has wrong length for hash algorithm '${kind}'`);
  }
}

const regexCache = new Map<string, Regex>();

function cachedRegex(source: string): Regex {
  let regex = regexCache.get(source);
  if (regex === undefined) {
    try {
      regex = compileRegex(source);
    } catch (error) {
      if (!(error instanceof RegexError)) throw error;
      throw error.space
        ? new NixError('eval', `memory limit exceeded by regular expression '${source}'`)
        : new NixError('eval', `invalid regular expression '${source}'`);
    }
    regexCache.set(source, regex);
  }
  return regex;
}

const groupValues = (groups: readonly (string | undefined)[]): Slot[] => groups.map((group) => group ?? null);

function match(regexSlot: Slot, slot: Slot): Value {
  const regex = cachedRegex(plain(regexSlot, 'first', 'match'));
  const value = forceString(slot, noPos, 'while evaluating the second argument passed to builtins.match');
  const found = regex.matchAll(stringText(value));
  return found === undefined ? null : groupValues(found.groups);
}

function split(regexSlot: Slot, slot: Slot): Value {
  const regex = cachedRegex(plain(regexSlot, 'first', 'split'));
  const value = forceString(slot, noPos, 'while evaluating the second argument passed to builtins.split');
  const text = stringText(value);
  const result: Slot[] = [];
  let copied = 0;
  for (let from = 0; from <= text.length; ) {
    const found = regex.search(text, from);
    if (found === undefined) break;
    result.push(text.slice(copied, found.start), groupValues(found.groups));
    copied = found.end;
    from = found.end > found.start ? found.end : found.end + 1;
  }
  if (result.length === 0) return [value];
  result.push(text.slice(copied));
  return result;
}

function concatStringsSep(separator: Slot, slot: Slot): Value {
  const collector = new ContextCollector();
  const between = forceStringWith(
    separator,
    collector,
    'while evaluating the first argument (the separator string) passed to builtins.concatStringsSep',
  );
  const list = forceList(
    slot,
    noPos,
    'while evaluating the second argument (the list of strings to concat) passed to builtins.concatStringsSep',
  );
  const error =
    'while evaluating one element of the list of strings to concat passed to builtins.concatStringsSep';
  const how = { error };
  return makeString(list.map((item) => coerceToString(item, collector, how)).join(between), collector);
}

function replaceStrings(fromSlot: Slot, toSlot: Slot, slot: Slot): Value {
  const argument = (which: string) =>
    `while evaluating the ${which} argument passed to builtins.replaceStrings`;
  const fromList = forceList(fromSlot, noPos, argument('first'));
  const toList = forceList(toSlot, noPos, argument('second'));
  if (fromList.length !== toList.length) {
    throw new NixError(
      'eval',
      "'from' and 'to' arguments passed to builtins.replaceStrings have different lengths",
    );
  }
  const from = fromList.map((item) =>
    stringText(
      forceString(
        item,
        noPos,
        'while evaluating one of the strings to replace passed to builtins.replaceStrings',
      ),
    ),
  );
  const collector = new ContextCollector();
  const text = forceStringWith(slot, collector, argument('third'));
  const replacements = new Map<number, string>();
  const replacement = (index: number): string => {
    let found = replacements.get(index);
    if (found === undefined) {
      found = forceStringWith(
        toList[index]!,
        collector,
        'while evaluating one of the replacement strings passed to builtins.replaceStrings',
      );
      replacements.set(index, found);
    }
    return found;
  };
  return makeString(replaceAll(text, from, replacement), collector);
}

function replaceAll(text: string, from: readonly string[], replacement: (index: number) => string): string {
  const starts = new Set(from.map((pattern) => (pattern === '' ? -1 : pattern.charCodeAt(0))));
  const anyEmpty = starts.has(-1);
  let result = '';
  let copied = 0;
  for (let at = 0; at <= text.length; ) {
    const index =
      anyEmpty || starts.has(text.charCodeAt(at))
        ? from.findIndex((pattern) => text.startsWith(pattern, at))
        : -1;
    if (index < 0) {
      at++;
      continue;
    }
    result += text.slice(copied, at) + replacement(index);
    const { length } = from[index]!;
    copied = at + length;
    if (length > 0) at = copied;
    else {
      result += text.slice(at, at + 1);
      at++;
      copied = at;
    }
  }
  return result + text.slice(copied);
}

function splitDrvName(slot: Slot): Value {
  const { name, version } = parseDrvName(plain(slot, 'first', 'parseDrvName'));
  return new AttrsBuilder().add(sym.name, name).add(sym.version, version).finish();
}

/** Builtins on strings, regular expressions, hashes and versions. */
export function stringBuiltins(): Builtin[] {
  return [
    define('toString', 1, (slot) => coerceMoreToString(slot!)),
    define('__substring', 3, (start, length, slot) => substring(start!, length!, slot!)),
    define('__stringLength', 1, (slot) => stringLength(slot!)),
    define('__hashString', 2, (algorithm, slot) => hashString(algorithm!, slot!)),
    define('__convertHash', 1, (slot) => convertHash(slot!)),
    define('__match', 2, (regex, slot) => match(regex!, slot!)),
    define('__split', 2, (regex, slot) => split(regex!, slot!)),
    define('__concatStringsSep', 2, (separator, list) => concatStringsSep(separator!, list!)),
    define('__replaceStrings', 3, (from, to, slot) => replaceStrings(from!, to!, slot!)),
    define('__parseDrvName', 1, (slot) => splitDrvName(slot!)),
    define('__compareVersions', 2, (first, second) =>
      compareVersions(plain(first!, 'first', 'compareVersions'), plain(second!, 'second', 'compareVersions')),
    ),
    define('__splitVersion', 1, (slot) => splitVersion(plain(slot!, 'first', 'splitVersion'))),
  ];
}
