import { parseStorePath } from '@larder/signing/store-path';
import { machine } from '../machine.js';

/** The base name of a full store path that is exactly one, or undefined. */
export function parseFullStorePath(path: string): string | undefined {
  const prefix = `${machine.host.storeDir}/`;
  if (!path.startsWith(prefix)) return undefined;
  const base = path.slice(prefix.length);
  if (base.includes('/')) return undefined;
  try {
    return parseStorePath(base);
  } catch {
    return undefined;
  }
}

/** Whether a path lies in the store. */
export function isInStore(path: string): boolean {
  return path.startsWith(`${machine.host.storeDir}/`);
}

/** The store path a path lies in, and the rest below it. */
export function splitStorePath(path: string): { storePath: string; rest: string } | undefined {
  const prefix = `${machine.host.storeDir}/`;
  if (!path.startsWith(prefix)) return undefined;
  const inner = path.slice(prefix.length);
  const slash = inner.indexOf('/');
  const storePath = parseFullStorePath(prefix + (slash < 0 ? inner : inner.slice(0, slash)));
  if (storePath === undefined) return undefined;
  return { storePath, rest: slash < 0 ? '' : inner.slice(slash) };
}
