import { formatBase32 } from '@larder/signing/base32';
import { compressHash, computeHash, type Hash } from '@larder/signing/hash';
import { coerceToPath } from './coerce.js';
import { type Context, ContextCollector, type ContextElement, parseContextElement } from './context.js';
import { NixError, traced } from './errors.js';
import { machine } from './machine.js';
import { canonicalPath } from './parser.js';
import { noPos } from './positions.js';
import type { Slot } from './values.js';

/** What stands in a string for an output whose path only a build can tell. */
export function downstreamPlaceholder(drv: string, output: string): string {
  return placeholderOf({ kind: 'opaque', path: drv }, output);
}

/** The same where the derivation itself may be one that only a build can tell. */
export function placeholderOf(drv: ContextElement, output: string): string {
  return `/${placeholderHash(drv, output).format('nix32', { prefix: false })}`;
}

function placeholderHash(drv: ContextElement, output: string): Hash {
  if (drv.kind === 'built') {
    const inner = compressHash(placeholderHash(parseContextElement(drv.drv), drv.output).bytes, 20);
    return computeHash('sha256', `nix-computed-output:${formatBase32(inner)}:${output}`);
  }
  const path = drv.kind === 'opaque' ? drv.path : drv.drv;
  const name = path.slice(33).replace(/\.drv$/, '');
  const outputName = output === 'out' ? name : `${name}-${output}`;
  return computeHash('sha256', `nix-upstream-output:${path.slice(0, 32)}:${outputName}`);
}

/**
 * Makes everything of a context exist in the store, building what must be built.
 * Gives what to replace in the string: placeholders by the paths that the build gave.
 */
export function realiseContext(context: Context): ReadonlyMap<string, string> {
  const { host, settings } = machine;
  const outputs: { drv: string; output: string }[] = [];
  const ensureValid = (path: string): void => {
    if (!host.isValidPath(path)) {
      throw new NixError('invalid-path', `path '${host.storeDir}/${path}' is not valid`);
    }
  };
  for (const text of context) {
    const element = parseContextElement(text);
    if (element.kind === 'opaque') ensureValid(element.path);
    else {
      ensureValid(element.drv);
      if (element.kind === 'built') outputs.push(element);
    }
  }
  const rewrites = new Map<string, string>();
  if (outputs.length === 0) return rewrites;
  if (!settings.allowImportFromDerivation) {
    const [{ drv, output }] = outputs as [{ drv: string; output: string }];
    throw new NixError(
      'eval',
      `cannot build '${host.storeDir}/${drv}^${output}' during evaluation because the option 'allow-import-from-derivation' is disabled`,
    );
  }
  const paths = host.realise(outputs);
  outputs.forEach(({ drv, output }, i) => {
    rewrites.set(downstreamPlaceholder(drv, output), `${host.storeDir}/${paths[i]!}`);
  });
  return rewrites;
}

/** Replaces placeholders in a string. */
export function rewrite(text: string, rewrites: ReadonlyMap<string, string>): string {
  let result = text;
  for (const [placeholder, path] of rewrites) result = result.replaceAll(placeholder, path);
  return result;
}

/** Whether symlinks on the way to a path, and at its end, are followed. */
export type SymlinkResolution = 'full' | 'ancestors' | 'none';

/** The path a value stands for, with what it depends on built first. */
export function realisePath(slot: Slot, resolution: SymlinkResolution = 'full'): string {
  const collector = new ContextCollector();
  const path = coerceToPath(slot, collector, 'while realising the context of a path');
  try {
    const { context } = collector;
    const realised = context === undefined ? path : canonicalPath(rewrite(path, realiseContext(context)));
    if (resolution === 'none') return realised;
    return machine.host.resolveSymlinks(realised, resolution === 'ancestors');
  } catch (error) {
    throw traced(error, noPos, `while realising the context of path '${path}'`);
  }
}
