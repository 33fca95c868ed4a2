import { fromByteText, toByteText } from './byte-text.js';
import { NixError } from './errors.js';
import { type FlakeRef, formatFlakeRef } from './flake-ref.js';
import { machine } from './machine.js';

/** A node of a lock file. An input is the name of a node, or a path of inputs from the root to follow. */
export interface LockNode {
  readonly inputs?: Readonly<Record<string, string | readonly string[]>>;
  readonly locked?: FlakeRef;
  readonly original?: FlakeRef;
  readonly flake?: boolean;
  readonly parent?: readonly string[];
}

/** A lock file. Format: the Nix manual, "Lock files". */
export interface LockFile {
  readonly nodes: Readonly<Record<string, LockNode>>;
  readonly root: string;
}

/** The lock file of a directory, if it has one. */
export function readLockFile(directory: string): LockFile | undefined {
  const file = `${directory}/flake.lock`;
  if (machine.host.fileType(file) === undefined) return undefined;
  try {
    return JSON.parse(fromByteText(machine.host.readFile(file))) as LockFile;
  } catch (error) {
    if (error instanceof NixError) throw error;
    throw new NixError('other', `while parsing the lock file '${file}': ${(error as Error).message}`);
  }
}

/**
 * A lock file as Nix writes it: nodes named by the first way to them, everything sorted. Two lock files that say the same
 * give the same text.
 */
export function formatLockFile(lock: LockFile): string {
  const nodes: Record<string, unknown> = {};
  const names = new Map<string, string>();
  const taken = new Set<string>();
  const dump = (wanted: string, at: string): string => {
    const known = names.get(at);
    if (known !== undefined) return known;
    let name = wanted;
    for (let i = 2; taken.has(name); i++) name = `${wanted}_${i}`;
    taken.add(name);
    names.set(at, name);
    const { inputs = {}, locked, original, flake, parent } = lock.nodes[at] ?? {};
    const named: Record<string, unknown> = {};
    for (const input of Object.keys(inputs).sort()) {
      const target = inputs[input]!;
      named[input] = typeof target === 'string' ? dump(input, target) : target;
    }
    nodes[name] = {
      ...(flake === false ? { flake } : {}),
      ...(Object.keys(named).length === 0 ? {} : { inputs: named }),
      ...(locked === undefined ? {} : { locked }),
      ...(original === undefined ? {} : { original }),
      ...(parent === undefined ? {} : { parent }),
    };
    return name;
  };
  const root = dump('root', lock.root);
  return `${JSON.stringify(sorted({ nodes, root, version: 7 }), undefined, 2)}\n`;
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}

/** Whether two references are written the same. */
export function isSameRef(a: FlakeRef | undefined, b: FlakeRef | undefined): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** An input that nothing fixes: what it is may change without a trace. */
export function findUnlocked(lock: LockFile): FlakeRef | undefined {
  return Object.entries(lock.nodes).find(
    ([name, { locked }]) => name !== lock.root && locked?.['type'] === 'git' && locked['rev'] === undefined,
  )?.[1].locked;
}

/** What becomes of the inputs, a line or more each (bytes). */
export function describeChanges(before: LockFile | undefined, after: LockFile): string {
  const [was, is] = [before === undefined ? new Map() : flatten(before), flatten(after)] as const;
  const lines: string[] = [];
  for (const path of [...new Set([...was.keys(), ...is.keys()])].sort(compareInputPaths)) {
    const [old, now] = [was.get(path), is.get(path)];
    if (old === now) continue;
    if (old === undefined) lines.push(`• Added input '${path}':`, `    ${now}`);
    else if (now === undefined) lines.push(`• Removed input '${path}'`);
    else lines.push(`• Updated input '${path}':`, `    ${old}`, `  → ${now}`);
  }
  return lines.map((line) => toByteText(`\n${line}`)).join('');
}

/** What is inside an input comes right after it. */
function compareInputPaths(a: string, b: string): number {
  const [x, y] = [a.replaceAll('/', '\0'), b.replaceAll('/', '\0')];
  return x < y ? -1 : x > y ? 1 : 0;
}

function flatten(lock: LockFile): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (at: string, path: string): void => {
    for (const [input, target] of Object.entries(lock.nodes[at]?.inputs ?? {})) {
      const here = path === '' ? input : `${path}/${input}`;
      if (typeof target !== 'string') {
        found.set(here, `follows '${target.join('/')}'`);
        continue;
      }
      const { locked } = lock.nodes[target] ?? {};
      found.set(here, locked === undefined ? '' : describeLocked(locked));
      visit(target, here);
    }
  };
  visit(lock.root, '');
  return found;
}

function describeLocked(locked: FlakeRef): string {
  const { lastModified } = locked;
  const date = typeof lastModified === 'number' ? new Date(lastModified * 1000) : undefined;
  return `'${formatFlakeRef(locked)}'${date === undefined ? '' : ` (${date.toISOString().slice(0, 10)})`}`;
}
