import { checkUri } from '../access.js';
import { coerceToPath } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { NixError } from '../errors.js';
import { forceAttrs, forceBool, forceStringNoContext } from '../force.js';
import { machine } from '../machine.js';
import type { Pos } from '../positions.js';
import { symbolName } from '../symbols.js';
import { force, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { storePathString } from './sources.js';
import { parseFullStorePath } from './store-paths.js';

interface ClosureArguments {
  fromStore?: string;
  fromPath?: string;
  toPath?: string;
  inputAddressed?: boolean;
}

function storePathArgument(slot: Slot, pos: Pos, error: string): string {
  const path = coerceToPath(slot, new ContextCollector(), error, pos);
  const storePath = parseFullStorePath(path);
  if (storePath !== undefined) return storePath;
  throw new NixError('eval', `path '${path}' is not in the Nix store`, pos);
}

function readArguments(slot: Slot): ClosureArguments {
  const attrs = forceAttrs(slot, 0, 'while evaluating the argument passed to builtins.fetchClosure');
  const args: ClosureArguments = {};
  for (const index of attrs.shape.order()) {
    const name = symbolName(attrs.shape.ids[index]!);
    const item = attrs.values[index]!;
    const pos = attrs.shape.position(index);
    const error = `while evaluating the attribute '${name}' passed to builtins.fetchClosure`;
    if (name === 'fromPath') args.fromPath = storePathArgument(item, pos, error);
    else if (name === 'toPath')
      args.toPath = force(item, pos) === '' ? '' : storePathArgument(item, pos, error);
    else if (name === 'fromStore') args.fromStore = forceStringNoContext(item, pos, error);
    else if (name === 'inputAddressed') args.inputAddressed = forceBool(item, pos, error);
    else throw new NixError('other', `attribute '${name}' isn't supported in call to 'fetchClosure'`, pos);
  }
  return args;
}

function required(value: string | undefined, name: string): string {
  if (value !== undefined) return value;
  throw new NixError('other', `attribute '${name}' is missing in call to 'fetchClosure'`);
}

/** A cache to fetch from: by HTTP, with nothing in its URL that would change what is trusted. */
function checkStore(fromStore: string): void {
  if (!/^https?:\/\//.test(fromStore)) {
    throw new NixError('other', "'fetchClosure' only supports http:// and https:// stores");
  }
  if (fromStore.includes('?')) {
    throw new NixError('other', `'fetchClosure' does not support URL query parameters (in '${fromStore}')`);
  }
}

function fetchClosure(slot: Slot): Value {
  const { host } = machine;
  const args = readArguments(slot);
  const path = required(args.fromPath, 'fromPath');
  const inputAddressed = args.inputAddressed ?? false;
  if (inputAddressed && args.toPath !== undefined) {
    throw new NixError(
      'other',
      "attribute 'inputAddressed' is set to true, but 'toPath' is also set. Please remove one of them",
    );
  }
  const fromStore = required(args.fromStore, 'fromStore');
  checkStore(fromStore);
  checkUri(fromStore);
  const wanted = args.toPath ?? path;
  if (args.toPath !== undefined && (wanted === '' || !host.isValidPath(wanted))) {
    throw new NixError(
      'other',
      `rewriting '${host.storeDir}/${path}' to a content-addressed path is not supported: publish it in that form, ` +
        `or fetch it as it is with 'inputAddressed = true'`,
    );
  }
  const { contentAddressed } = host.fetchClosure({ fromStore, path: wanted });
  if (args.toPath !== undefined && !contentAddressed) {
    throw new NixError(
      'other',
      `The 'toPath' value '${host.storeDir}/${wanted}' is input-addressed, so it can't possibly be the result of rewriting to a content-addressed path.`,
    );
  }
  if (args.toPath === undefined && contentAddressed === inputAddressed) {
    throw new NixError('other', wrongAddressing(`${host.storeDir}/${wanted}`, contentAddressed));
  }
  return storePathString(wanted);
}

function wrongAddressing(path: string, contentAddressed: boolean): string {
  if (contentAddressed) {
    return `The store object referred to by 'fromPath' at '${path}' is not input-addressed, but 'inputAddressed' is set to 'true'.

Remove the 'inputAddressed' attribute (it defaults to 'false') to expect 'fromPath' to be content-addressed`;
  }
  return `The 'fromPath' value '${path}' is input-addressed, but 'inputAddressed' is set to 'false' (default).

If you do intend to fetch an input-addressed store path, add

    inputAddressed = true;

to the 'fetchClosure' arguments.

Note that to ensure authenticity input-addressed store paths, users must configure a trusted binary cache public key on their systems. This is not needed for content-addressed paths.`;
}

/** `fetchClosure`, where the experimental feature is on. */
export function closureBuiltins(): Builtin[] {
  if (!machine.settings.experimentalFeatures.has('fetch-closure')) return [];
  return [define('__fetchClosure', 1, (slot) => fetchClosure(slot!))];
}
