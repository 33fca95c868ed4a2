import { checkUri } from '../access.js';
import { Attrs, AttrsBuilder } from '../attrs.js';
import { coerceToString } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { NixError } from '../errors.js';
import { forceStringNoContext } from '../force.js';
import { machine } from '../machine.js';
import { noPos, type Pos } from '../positions.js';
import { intern, sym, symbolName } from '../symbols.js';
import { force, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';
import { storePathString } from './sources.js';

interface MercurialInput {
  url: string;
  name: string;
  rev?: string;
  /** A branch or a tag. */
  ref?: string;
}

const noRevision = '0'.repeat(40);

function readUrl(slot: Slot, error: string, pos: Pos = noPos): string {
  return coerceToString(slot, new ContextCollector(), { error, pos, copy: false });
}

function readInput(slot: Slot): MercurialInput {
  const value = force(slot);
  const input: MercurialInput = { url: '', name: 'source' };
  if (!(value instanceof Attrs)) {
    input.url = readUrl(value, 'while evaluating the first argument passed to builtins.fetchMercurial');
    return input;
  }
  value.shape.ids.forEach((id, i) => {
    const name = symbolName(id);
    const pos = value.shape.position(i);
    const error = `while evaluating the \`${name}\` attribute passed to builtins.fetchMercurial`;
    const item = value.values[i]!;
    if (name === 'url') input.url = readUrl(item, error, pos);
    else if (name === 'name') input.name = forceStringNoContext(item, pos, error);
    else if (name === 'rev') {
      const rev = forceStringNoContext(item, pos, error);
      if (/^[0-9a-fA-F]{40}$/.test(rev)) input.rev = rev.toLowerCase();
      else input.ref = rev;
    } else throw new NixError('eval', `unsupported argument '${name}' to 'fetchMercurial'`, pos);
  });
  if (input.url === '') throw new NixError('eval', "'url' argument required");
  return input;
}

function fetchMercurial(slot: Slot): Value {
  const { host, settings } = machine;
  const { url, ...input } = readInput(slot);
  checkUri(url);
  if (settings.pureEval && input.rev === undefined) {
    throw new NixError('other', "in pure evaluation mode, 'fetchMercurial' requires a Mercurial revision");
  }
  const tree = host.fetchTree({ ...input, type: 'hg', url: url.includes('://') ? url : `file://${url}` });
  const { ref, rev = noRevision, revCount } = tree.attrs;
  const result = new AttrsBuilder().add(sym.outPath, storePathString(tree.storePath));
  if (typeof ref === 'string') result.add(intern('branch'), ref);
  result.add(intern('rev'), rev).add(intern('shortRev'), String(rev).slice(0, 12));
  if (revCount !== undefined) result.add(intern('revCount'), revCount);
  return result.finish();
}

/** `fetchMercurial`. */
export function mercurialBuiltins(): Builtin[] {
  return [define('fetchMercurial', 1, (slot) => fetchMercurial(slot!))];
}
