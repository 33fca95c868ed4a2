import { checkUri } from '../access.js';
import { Attrs, AttrsBuilder } from '../attrs.js';
import { coerceToString } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { NixError, traced } from '../errors.js';
import { forceStringNoContext } from '../force.js';
import type { FetchedTree } from '../host.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { intern, sym, symbolName } from '../symbols.js';
import { describeType } from '../types.js';
import { force, isInt, isString, NixPath, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { fixedOutputStorePath } from './derivation-outputs.js';
import { storePathString } from './sources.js';
import { storeNameFault } from './store-paths.js';
import { parseNixHash } from './strings.js';

interface FetchUrlArguments {
  url: string | undefined;
  name: string;
  sha256: string | undefined;
  named: boolean;
  readonly fromSet: boolean;
}

function readArguments(slot: Slot, who: string, defaultName: string): FetchUrlArguments {
  const value = force(slot);
  const fromSet = value instanceof Attrs;
  const args: FetchUrlArguments = {
    url: undefined,
    name: defaultName,
    sha256: undefined,
    named: false,
    fromSet,
  };
  if (!(value instanceof Attrs)) {
    args.url = forceStringNoContext(value, noPos, 'while evaluating the url we should fetch');
    return args;
  }
  value.shape.ids.forEach((id, i) => {
    const pos = value.shape.position(i);
    const text = (what: string): string =>
      forceStringNoContext(value.values[i]!, pos, `while evaluating the ${what} we should fetch`);
    const name = symbolName(id);
    if (name === 'url') args.url = text('url');
    else if (name === 'sha256') args.sha256 = text('sha256 of the content');
    else if (name === 'name') {
      args.name = text('name of the content');
      args.named = true;
    } else throw new NixError('eval', `unsupported argument '${name}' to '${who}'`);
  });
  if (args.url === undefined) throw new NixError('eval', "'url' argument required");
  return args;
}

function fetchFile(slot: Slot, who: 'fetchurl' | 'fetchTarball'): Value {
  const { host, settings } = machine;
  const unpack = who === 'fetchTarball';
  const args = readArguments(slot, who, unpack ? 'source' : '');
  let url = args.url!;
  if (unpack && url.startsWith('channel:')) {
    url = `https://channels.nixos.org/${url.slice('channel:'.length)}/nixexprs.tar.xz`;
  }
  checkUri(url);
  const name = args.name === '' ? url.slice(url.lastIndexOf('/') + 1) : args.name;
  const fault = storeNameFault(name);
  if (fault !== undefined) {
    const hint = args.named
      ? `Please change the value for the 'name' attribute passed to '${who}', so that it can create a valid store path.`
      : args.fromSet
        ? `Please add a valid 'name' attribute to the argument for '${who}', so that it can create a valid store path.`
        : `Please pass an attribute set with 'url' and 'name' attributes to '${who}',  so that it can create a valid store path.`;
    throw new NixError('eval', `invalid store path name when fetching URL '${url}': ${fault}. ${hint}`);
  }
  if (settings.pureEval && args.sha256 === undefined) {
    throw new NixError('eval', `in pure evaluation mode, '${who}' requires a 'sha256' argument`);
  }
  if (args.sha256 !== undefined && args.sha256 !== '') {
    const hash = parseNixHash(args.sha256, 'sha256');
    const expected = fixedOutputStorePath(name, unpack ? 'recursive' : 'flat', hash);
    if (host.isValidPath(expected)) return storePathString(expected);
  }
  return storePathString(host.fetchUrl({ url, name, unpack, sha256: args.sha256 }));
}

/** The set that describes a fetched tree. */
export function treeToValue(tree: FetchedTree, options: { readonly emptyRev: boolean }): Value {
  const { attrs } = tree;
  const builder = new AttrsBuilder().add(sym.outPath, storePathString(tree.storePath));
  const add = (name: string, value: Value): void => {
    builder.add(intern(name), value);
  };
  if (attrs.narHash !== undefined) add('narHash', attrs.narHash);
  if (attrs.type === 'git') add('submodules', attrs.submodules === true);
  const { rev } = attrs;
  if (typeof rev === 'string') {
    add('rev', rev);
    add('shortRev', rev.slice(0, 7));
  } else if (options.emptyRev) {
    add('rev', '0'.repeat(40));
    add('shortRev', '0000000');
  }
  if (attrs.revCount !== undefined) add('revCount', attrs.revCount);
  else if (options.emptyRev) add('revCount', 0);
  if (typeof attrs.dirtyRev === 'string') {
    add('dirtyRev', attrs.dirtyRev);
    add('dirtyShortRev', attrs.dirtyShortRev ?? '');
  }
  const { lastModified } = attrs;
  if (typeof lastModified === 'number') {
    add('lastModified', lastModified);
    add('lastModifiedDate', new Date(lastModified * 1000).toISOString().replace(/[-:T]|\..*/g, ''));
  }
  return builder.finish();
}

function readInput(slot: Slot, git: boolean): Record<string, string | number | boolean> {
  const who = git ? 'fetchGit' : 'fetchTree';
  const value = force(slot);
  const input: Record<string, string | number | boolean> = {};
  if (!(value instanceof Attrs)) {
    const error = `while evaluating the first argument passed to '${who}'`;
    const url = coerceToString(value, new ContextCollector(), { error, copy: false });
    if (git) return { type: 'git', url: gitUrl(url) };
    if (!machine.settings.experimentalFeatures.has('flakes')) {
      throw new NixError(
        'eval',
        "passing a string argument to 'fetchTree' requires the 'flakes' experimental feature",
      );
    }
    return { url };
  }
  if (git) input.type = 'git';
  if (git && value.has(sym.type)) throw new NixError('eval', "unexpected argument 'type'");
  if (!git && !value.has(sym.type)) {
    throw new NixError('eval', `argument 'type' is missing in call to '${who}'`);
  }
  value.shape.ids.forEach((id, i) => {
    const name = symbolName(id);
    const pos = value.shape.position(i);
    const item = force(value.values[i]!, pos);
    if (isString(item) || item instanceof NixPath) {
      const text = coerceToString(item, new ContextCollector(), { error: '', pos, copy: false });
      input[name] = git && name === 'url' ? gitUrl(text) : text;
    } else if (typeof item === 'boolean') input[name] = item;
    else if (isInt(item)) {
      if (item < 0) {
        throw new NixError('eval', `negative value given for '${who}' argument '${name}': ${item}`);
      }
      input[name] = Number(item);
    } else {
      throw new NixError(
        'type',
        `argument '${name}' to '${who}' is ${describeType(item)} while a string, Boolean or integer is expected`,
      );
    }
  });
  if (!git && input.name !== undefined) {
    throw new NixError('eval', `argument 'name' isn\xe2\x80\x99t supported in call to '${who}'`);
  }
  return input;
}

/** A git location as a URL: paths and `host:path` become ones. */
function gitUrl(text: string): string {
  if (/^[a-z+]+:\/\//.test(text)) return text;
  if (text.startsWith('/')) return `file://${text}`;
  const scp = /^(?:([^@/]+)@)?([^:/]+):(.*)$/.exec(text);
  if (scp !== null) return `ssh://${scp[1] === undefined ? '' : `${scp[1]}@`}${scp[2]}/${scp[3]}`;
  return `file://${text}`;
}

function isLocked(input: Readonly<Record<string, string | number | boolean>>): boolean {
  return input.rev !== undefined || input.narHash !== undefined;
}

function fetchTree(slot: Slot, git: boolean): Value {
  const input = readInput(slot, git);
  if (git && input.url === undefined) throw new NixError('eval', "input attribute 'url' is missing");
  const shown = String(input.url ?? input.path ?? input.type);
  if (machine.settings.pureEval && !isLocked(input)) {
    throw new NixError(
      'eval',
      `in pure evaluation mode, '${git ? 'fetchGit' : 'fetchTree'}' doesn't fetch unlocked input '${shown}'`,
    );
  }
  checkUri(shown);
  try {
    if (/^file:(?!\/)/.test(shown)) {
      throw new NixError(
        'other',
        `tarball '${shown}' must use an absolute path. The 'file' scheme does not support relative paths.`,
      );
    }
    return treeToValue(machine.host.fetchTree(input), { emptyRev: git });
  } catch (error) {
    throw traced(error, noPos, `while fetching the input '${shown}'`);
  }
}

/** Builtins that fetch files and source trees. */
export function fetchBuiltins(): Builtin[] {
  return [
    define('__fetchurl', 1, (slot) => fetchFile(slot!, 'fetchurl')),
    define('fetchTarball', 1, (slot) => fetchFile(slot!, 'fetchTarball')),
    define('fetchGit', 1, (slot) => fetchTree(slot!, true)),
    define('fetchTree', 1, (slot) => fetchTree(slot!, false)),
  ];
}
