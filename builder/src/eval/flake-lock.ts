import { Attrs } from './attrs.js';
import { fromByteText } from './byte-text.js';
import { NixError } from './errors.js';
import { isSameRef, type LockFile, type LockNode, readLockFile } from './flake-lock-file.js';
import type { LockChanges } from './flake-locking.js';
import { type FlakeRef, fetchInputOf, parseFlakeRef } from './flake-ref.js';
import { machine } from './machine.js';
import { intern, symbolName } from './symbols.js';
import { force, isString, type Slot, stringText } from './values.js';

/** An input as `flake.nix` declares it. */
interface DeclaredInput {
  readonly ref: FlakeRef | undefined;
  readonly follows: readonly string[] | undefined;
  readonly isFlake: boolean;
  readonly overrides: ReadonlyMap<string, DeclaredInput>;
}

const textAttr = (attrs: Attrs, name: string): string | undefined => {
  const slot = attrs.get(intern(name));
  if (slot === undefined) return undefined;
  const value = force(slot);
  return isString(value) ? stringText(value) : undefined;
};

function readDeclaration(slot: Slot): DeclaredInput {
  const value = force(slot);
  if (!(value instanceof Attrs)) throw new NixError('type', 'a flake input must be a set');
  const url = textAttr(value, 'url');
  const follows = textAttr(value, 'follows');
  const flakeSlot = value.get(intern('flake'));
  const nested = value.get(intern('inputs'));
  let ref: FlakeRef | undefined;
  if (url !== undefined) {
    ref = parseFlakeRef(fromByteText(url));
    if (ref === undefined) throw new NixError('other', `'${url}' is not a valid flake reference`);
  } else if (value.has(intern('type'))) ref = plainAttrs(value);
  return {
    ref,
    follows:
      follows === undefined
        ? undefined
        : fromByteText(follows)
            .split('/')
            .filter((part) => part !== ''),
    isFlake: flakeSlot === undefined || force(flakeSlot) !== false,
    overrides: nested === undefined ? new Map() : readInputs(nested),
  };
}

function plainAttrs(attrs: Attrs): FlakeRef {
  const ref: Record<string, string | number | boolean> = {};
  attrs.shape.ids.forEach((id, i) => {
    const value = force(attrs.values[i]!);
    const name = symbolName(id);
    if (['flake', 'follows', 'inputs'].includes(name)) return;
    if (isString(value)) ref[name] = fromByteText(stringText(value));
    else if (typeof value === 'number' || typeof value === 'boolean') ref[name] = value;
  });
  return ref;
}

/** The inputs a `flake.nix` declares. */
function readInputs(slot: Slot): Map<string, DeclaredInput> {
  const value = force(slot);
  const inputs = new Map<string, DeclaredInput>();
  if (!(value instanceof Attrs)) return inputs;
  value.shape.ids.forEach((id, i) => {
    inputs.set(fromByteText(symbolName(id)), readDeclaration(value.values[i]!));
  });
  return inputs;
}

/** Inputs that only the outputs function names: they are looked up in the registry. */
function impliedInputs(flake: Attrs): string[] {
  const outputs = flake.get(intern('outputs'));
  const value = outputs === undefined ? undefined : force(outputs);
  if (value === undefined || value === null || typeof value !== 'object' || !('code' in value)) return [];
  const { formals } = value.code.expr;
  return (formals?.list ?? []).map((formal) => symbolName(formal.name)).filter((name) => name !== 'self');
}

/** A declaration that replaces one further in; what it follows is seen from the flake at `base`. */
interface Override {
  readonly declaration: DeclaredInput;
  readonly base: readonly string[];
}

type Overrides = ReadonlyMap<string, Override>;

/** Where a flake is among the inputs, and what a lock file says of it. */
interface Place {
  /** Its own path from the root. */
  readonly path: readonly string[];
  readonly known: LockFile | undefined;
  /** The flake's node in that lock file. */
  readonly at: string;
  /** The path of the flake the lock file belongs to, from which the paths in it are seen. */
  readonly lockPath: readonly string[];
}

/** An input to fetch. */
interface FoundInput {
  /** As `flake.nix` has it, whatever replaces it. */
  readonly declared: FlakeRef;
  readonly isFlake: boolean;
  readonly place: Place;
  /** Its node in a lock file, to be kept. */
  readonly node?: LockNode;
  /** Whether its own inputs are looked up at `place`, rather than in the lock file that it has itself. */
  readonly hasLock?: boolean;
}

const overridesOf = (declaration: DeclaredInput, base: readonly string[]): [string, Override][] =>
  [...declaration.overrides].map(([name, each]) => [name, { declaration: each, base }]);

/** Makes or completes a lock file in memory, fetching what it does not have. */
class Locker {
  readonly nodes: Record<string, LockNode> = {};
  private readonly changes: LockChanges;

  constructor(changes: LockChanges) {
    this.changes = changes;
  }

  private unique(name: string): string {
    if (this.nodes[name] === undefined) return name;
    for (let i = 2; ; i++) if (this.nodes[`${name}_${i}`] === undefined) return `${name}_${i}`;
  }

  /** Adds the node of an input, and the inputs of the flake it is. */
  add(
    name: string,
    { node, flake, place }: { node: LockNode; flake: Attrs | undefined; place: Place },
    overrides: Overrides,
  ): string {
    const key = this.unique(name);
    this.nodes[key] = node;
    if (flake === undefined) return key;
    const declared = readInputs(flake.get(intern('inputs')) ?? null);
    for (const implied of impliedInputs(flake)) {
      if (!declared.has(implied)) {
        declared.set(implied, {
          ref: parseFlakeRef(implied),
          follows: undefined,
          isFlake: true,
          overrides: new Map(),
        });
      }
    }
    const inputs: Record<string, string | readonly string[]> = {};
    for (const [input, declaration] of [...declared].sort(([a], [b]) => (a < b ? -1 : 1))) {
      inputs[input] = this.addInput(input, { declaration, override: overrides.get(input) }, place);
    }
    this.nodes[key] = { ...node, ...(Object.keys(inputs).length === 0 ? {} : { inputs }) };
    return key;
  }

  private addInput(
    input: string,
    { declaration, override }: { declaration: DeclaredInput; override: Override | undefined },
    place: Place,
  ): string | readonly string[] {
    const path = [...place.path, input];
    const replaced = override?.declaration;
    const given = this.changes.overrideOf(path);
    if (given === undefined && replaced?.follows !== undefined)
      return [...override!.base, ...replaced.follows];
    const other = given ?? replaced?.ref;
    if (other === undefined && declaration.follows !== undefined)
      return [...place.path, ...declaration.follows];
    const nested: Overrides = new Map([
      ...overridesOf(declaration, place.path),
      ...(override === undefined ? [] : overridesOf(override.declaration, override.base)),
    ]);
    const declared = declaration.ref ?? (declaration.follows === undefined ? parseFlakeRef(input)! : other!);
    const edge = this.changes.isUpdated(path) ? undefined : place.known?.nodes[place.at]?.inputs?.[input];
    const old = typeof edge === 'string' ? place.known!.nodes[edge] : undefined;
    // Whether it is a flake is for those to say who use it, wherever it is taken from.
    const { isFlake } = declaration;
    if (old === undefined) return this.fetch(input, other ?? declared, { declared, isFlake, place }, nested);
    const at = { ...place, at: edge as string };
    if (other !== undefined || !isSameRef(old.original, declared)) {
      const known = { declared, isFlake, place: at, hasLock: true };
      return this.fetch(input, other ?? declared, known, nested);
    }
    // What it makes follow something else is of flake.nix, which may say otherwise by now: that is looked at again.
    const isKept = nested.size === 0 && !this.changes.isBelow(path);
    if (isKept && !Object.values(old.inputs ?? {}).some(Array.isArray))
      return this.copyLocked(place.known!, edge as string, place.lockPath);
    return this.fetch(input, old.locked!, { declared, isFlake, place: at, node: old, hasLock: true }, nested);
  }

  /** Fetches an input and adds it. */
  private fetch(input: string, ref: FlakeRef, found: FoundInput, nested: Overrides): string {
    const tree = machine.host.fetchTree(fetchInputOf(ref));
    const inside = ref['dir'] === undefined ? '' : `/${String(ref['dir'])}`;
    const directory = `${machine.host.storeDir}/${tree.storePath}${inside}`;
    const { dirtyRev: _, dirtyShortRev: __, ...attrs } = tree.attrs;
    const node = found.node ?? {
      locked: {
        ...attrs,
        ...(tree.ref === undefined ? {} : { ref: tree.ref }),
        ...(inside === '' ? {} : { dir: ref['dir']! }),
      },
      // An override lasts where flakes are concerned: the next run finds what it looks for, and looks no further.
      original: found.isFlake ? found.declared : ref,
      ...(found.isFlake ? {} : { flake: false }),
    };
    const path = [...found.place.path, input];
    if (!found.isFlake)
      return this.add(input, { node, flake: undefined, place: { ...found.place, path } }, nested);
    const flake = importFlake(directory);
    if (found.hasLock === true)
      return this.add(input, { node, flake, place: { ...found.place, path } }, nested);
    const known = readLockFile(directory);
    const place: Place = { path, known, at: known?.root ?? '', lockPath: path };
    return this.add(input, { node, flake, place }, nested);
  }

  /** Copies a node of another lock file, and all below it. */
  private copyLocked(lock: LockFile, name: string, path: readonly string[]): string {
    const node = lock.nodes[name]!;
    const key = this.unique(name);
    this.nodes[key] = node;
    const inputs: Record<string, string | readonly string[]> = {};
    for (const [input, target] of Object.entries(node.inputs ?? {})) {
      inputs[input] = typeof target === 'string' ? this.copyLocked(lock, target, path) : [...path, ...target];
    }
    this.nodes[key] = { ...node, ...(Object.keys(inputs).length === 0 ? {} : { inputs }) };
    return key;
  }
}

/** The set in a directory's `flake.nix`. */
export function importFlake(directory: string): Attrs {
  const file = `${directory}/flake.nix`;
  if (machine.host.fileType(file) === undefined) {
    throw new NixError(
      'other',
      `source tree referenced by '${directory}' does not contain a '/flake.nix' file`,
    );
  }
  const value = machine.importer.importFile(file);
  if (value instanceof Attrs) return value;
  throw new NixError('eval', `file '${file}' must be an attribute set`);
}

/** A flake's lock file, completed where it lacks an input or has another one, and changed as the user wants it. */
export function lockFlake(directory: string, flake: Attrs, changes: LockChanges): LockFile {
  const known = readLockFile(directory);
  if (machine.settings.pureEval) {
    if (changes.isEmpty && known !== undefined && isComplete(known, flake)) return known;
    if (readInputs(flake.get(intern('inputs')) ?? null).size > 0) {
      throw new NixError(
        'other',
        `flake '${directory}' has inputs that its lock file does not have, and evaluation is pure`,
      );
    }
  }
  const locker = new Locker(changes);
  const used = changes.recreate ? undefined : known;
  const place: Place = { path: [], known: used, at: used?.root ?? '', lockPath: [] };
  const root = locker.add('root', { node: {}, flake, place }, new Map());
  changes.checkUsed();
  return { nodes: locker.nodes, root };
}

function isComplete(lock: LockFile, flake: Attrs): boolean {
  const locked = lock.nodes[lock.root]?.inputs ?? {};
  return [...readInputs(flake.get(intern('inputs')) ?? null).keys()].every(
    (input) => locked[input] !== undefined,
  );
}
