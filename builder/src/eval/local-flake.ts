import type { Attrs } from './attrs.js';
import { treeToValue } from './builtins/fetch.js';
import { fromByteText, toByteText } from './byte-text.js';
import { type FlakeRef, fetchInputOf, parseFlakeRef } from './flake-ref.js';
import { machine } from './machine.js';
import { canonicalPath } from './parser.js';

/** The repository a path of this machine is in, so that it is fetched as git does; else the path itself. */
export function localRef(ref: FlakeRef): FlakeRef {
  const { host } = machine;
  const path = absolutePath(ref);
  if (path.startsWith(`${host.storeDir}/`)) return { ...ref, path: fromByteText(path) };
  for (
    let directory = path;
    directory !== '/' && directory !== '';
    directory = directory.slice(0, directory.lastIndexOf('/'))
  ) {
    if (host.fileType(`${directory}/.git`) === undefined) continue;
    const inside = path.slice(directory.length + 1);
    const { path: _, ...rest } = ref;
    return {
      ...rest,
      type: 'git',
      url: `file://${fromByteText(directory)}`,
      ...(inside === '' ? {} : { dir: fromByteText(inside) }),
    };
  }
  return { ...ref, path: fromByteText(path) };
}

function absolutePath(ref: FlakeRef): string {
  return canonicalPath(toByteText(String(ref['path'])), machine.host.workingDirectory());
}

/**
 * A reference as users write it, seen from the working directory: a plain path means the repository that it is in, one with
 * `path:` the directory as it is. Undefined for what is none.
 */
export function readFlakeRef(text: string): FlakeRef | undefined {
  const ref = parseFlakeRef(text);
  if (ref?.['type'] !== 'path') return ref;
  return /^[./]/.test(text) ? localRef(ref) : { ...ref, path: fromByteText(absolutePath(ref)) };
}

/** A flake, fetched. */
export interface FetchedFlake {
  readonly ref: FlakeRef;
  readonly source: Attrs;
  readonly directory: string;
}

export function fetchFlake(ref: FlakeRef): FetchedFlake {
  const { host } = machine;
  const tree = host.fetchTree(fetchInputOf(ref));
  const source = treeToValue(tree, { emptyRev: false }) as Attrs;
  const dir = ref['dir'] === undefined ? '' : `/${toByteText(String(ref['dir']))}`;
  return { ref, source, directory: `${host.storeDir}/${tree.storePath}${dir}` };
}
