import { type Attrs, AttrsBuilder, updateAttrs } from './attrs.js';
import { treeToValue } from './builtins/fetch.js';
import { toByteText } from './byte-text.js';
import { call1, delayed } from './call.js';
import { NixError } from './errors.js';
import { importFlake, lockFlake } from './flake-lock.js';
import type { LockFile, LockNode } from './flake-lock-file.js';
import { LockChanges } from './flake-locking.js';
import { type FlakeRef, fetchInputOf } from './flake-ref.js';
import { forceAttrs, forceFunction } from './force.js';
import { fetchFlake } from './local-flake.js';
import { machine } from './machine.js';
import { canonicalPath } from './parser.js';
import { noPos } from './positions.js';
import { settleLock } from './settle-lock.js';
import { intern, sym } from './symbols.js';
import { NixString, type Slot, type Value } from './values.js';

const make = (entries: Readonly<Record<string, Slot>>): Attrs => {
  const builder = new AttrsBuilder();
  for (const [name, value] of Object.entries(entries)) builder.add(intern(name), value);
  return builder.finish();
};

/** One flake of a lock file, with its source fetched and its outputs called only when they are asked for. */
class FlakeNode {
  private readonly graph: FlakeGraph;
  private readonly node: LockNode;
  private source: Attrs | undefined;
  readonly result: Slot;

  constructor(graph: FlakeGraph, node: LockNode, source: Attrs | undefined) {
    this.graph = graph;
    this.node = node;
    this.source = source;
    this.result = delayed(() => (node.flake === false ? this.plainResult() : this.flakeResult()));
  }

  private get isRelative(): boolean {
    const { locked } = this.node;
    return locked?.['type'] === 'path' && !String(locked['path']).startsWith('/');
  }

  private parent(): FlakeNode {
    return this.graph.follow(this.node.parent ?? []);
  }

  sourceInfo(): Attrs {
    if (this.source === undefined) {
      this.source = this.isRelative
        ? this.parent().sourceInfo()
        : (treeToValue(machine.host.fetchTree(fetchInputOf(this.node.locked!)), {
            emptyRev: false,
          }) as Attrs);
    }
    return this.source;
  }

  /** The flake's directory, as a string that depends on its tree. */
  outPath(): NixString {
    const base = this.isRelative
      ? join(this.parent().outPath(), String(this.node.locked!['path']))
      : (this.sourceInfo().get(sym.outPath) as NixString);
    return join(base, String(this.node.locked?.['dir'] ?? ''));
  }

  private plainResult(): Value {
    const sourceInfo = this.sourceInfo();
    return updateAttrs(sourceInfo, make({ sourceInfo, outPath: this.outPath() }));
  }

  private flakeResult(): Value {
    const outPath = this.outPath();
    const flake = importFlake(outPath.text);
    const outputsSlot = flake.get(intern('outputs'));
    if (outputsSlot === undefined) {
      throw new NixError('eval', `flake '${outPath.text}' lacks attribute 'outputs'`);
    }
    const called = forceFunction(outputsSlot, noPos, "while evaluating the 'outputs' of a flake");
    const inputs = make(
      Object.fromEntries(
        Object.entries(this.node.inputs ?? {}).map(([name, target]) => [
          toByteText(name),
          delayed(() => this.graph.resolve(target).force()),
        ]),
      ),
    );
    const sourceInfo = this.sourceInfo();
    const self = delayed(() => whole);
    const outputs = delayed(() =>
      forceAttrs(
        call1(called, updateAttrs(inputs, make({ self })), noPos),
        noPos,
        'while evaluating the outputs of a flake',
      ),
    );
    const own = make({ outPath, inputs, outputs, sourceInfo, _type: 'flake' });
    const whole: Attrs = updateAttrs(
      updateAttrs(forceAttrs(outputs, noPos, 'while evaluating the outputs of a flake'), sourceInfo),
      own,
    );
    return whole;
  }

  force(): Value {
    const { result } = this;
    return result === null || typeof result !== 'object' || !('force' in result)
      ? (result as Value)
      : result.force(noPos);
  }
}

function join(base: NixString, relative: string): NixString {
  if (relative === '') return base;
  return new NixString(canonicalPath(`${base.text}/${relative}`), base.context);
}

class FlakeGraph {
  private readonly lock: LockFile;
  private readonly nodes = new Map<string, FlakeNode>();

  constructor(lock: LockFile, root: Attrs) {
    this.lock = lock;
    this.nodes.set(lock.root, new FlakeNode(this, lock.nodes[lock.root]!, root));
  }

  private byName(name: string): FlakeNode {
    let node = this.nodes.get(name);
    if (node === undefined) {
      const locked = this.lock.nodes[name];
      if (locked === undefined) throw new NixError('other', `the lock file has no node '${name}'`);
      node = new FlakeNode(this, locked, undefined);
      this.nodes.set(name, node);
    }
    return node;
  }

  get root(): FlakeNode {
    return this.byName(this.lock.root);
  }

  /** The node an input stands for: a node's name, or a path of inputs from the root. */
  resolve(target: string | readonly string[]): FlakeNode {
    return typeof target === 'string' ? this.byName(target) : this.follow(target);
  }

  follow(path: readonly string[]): FlakeNode {
    let name = this.lock.root;
    let node = this.byName(name);
    for (const part of path) {
      const target: string | readonly string[] | undefined = this.lock.nodes[name]?.inputs?.[part];
      if (target === undefined) throw new NixError('other', `the lock file has no input '${part}'`);
      node = this.resolve(target);
      name = this.nameOf(node);
    }
    return node;
  }

  private nameOf(wanted: FlakeNode): string {
    for (const [name, node] of this.nodes) if (node === wanted) return name;
    return this.lock.root;
  }
}

/**
 * Fetches a flake and calls it: the set of its outputs, with what is known of its source.
 *
 * @param ref absolute, if it is a path
 */
export function getFlake(ref: FlakeRef): Value {
  const locking = machine.flakeLock;
  machine.flakeLock = undefined;
  const changes = new LockChanges(locking ?? {});
  const found = fetchFlake(ref);
  const lock = lockFlake(found.directory, importFlake(found.directory), changes);
  const { source } = locking === undefined ? found : settleLock(found, lock, locking);
  const root = lock.nodes[lock.root] ?? {};
  const withPlace: LockFile = {
    root: lock.root,
    nodes: { ...lock.nodes, [lock.root]: { ...root, locked: { ...found.ref, type: 'tree' } } },
  };
  return new FlakeGraph(withPlace, source).root.force();
}
