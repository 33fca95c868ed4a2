import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { print, printLines, usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession, ToolStore } from './session.js';
import { followToStorePath, queryValid } from './store-arguments.js';
import { queryDependents, queryRequisites, sortPaths } from './store-closure.js';
import { findDeriver, listOutputs, readStoreDerivation } from './store-derivation.js';

type Question =
  | 'outputs'
  | 'requisites'
  | 'references'
  | 'referrers'
  | 'referrers-closure'
  | 'deriver'
  | 'valid-derivers'
  | 'binding'
  | 'hash'
  | 'size'
  | 'tree'
  | 'graph'
  | 'graphml'
  | 'resolve'
  | 'roots';

const questions: Readonly<Record<string, Question>> = {
  '--outputs': 'outputs',
  '--requisites': 'requisites',
  '-R': 'requisites',
  '--references': 'references',
  '--referrers': 'referrers',
  '--referers': 'referrers',
  '--referrers-closure': 'referrers-closure',
  '--referers-closure': 'referrers-closure',
  '--deriver': 'deriver',
  '-d': 'deriver',
  '--valid-derivers': 'valid-derivers',
  '--binding': 'binding',
  '-b': 'binding',
  '--hash': 'hash',
  '--size': 'size',
  '--tree': 'tree',
  '--graph': 'graph',
  '--graphml': 'graphml',
  '--resolve': 'resolve',
  '--roots': 'roots',
};

interface Query {
  readonly session: ToolSession;
  readonly store: ToolStore;
  readonly args: readonly string[];
  readonly useOutput: boolean;
  readonly includeOutputs: boolean;
  readonly forceRealise: boolean;
  /** The attribute that `--binding` asks for. */
  readonly binding: string;
}

/** `nix-store --query`. */
export async function run(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  const rest = [...args];
  let question: Question | undefined;
  let binding = '';
  const modes = { useOutput: false, includeOutputs: false, forceRealise: false };
  for (const flag of flags) {
    const asked = Object.hasOwn(questions, flag) ? questions[flag] : undefined;
    if (asked !== undefined) {
      if (question !== undefined && question !== asked)
        throw usageError(`query type '${flag}' conflicts with earlier flag`);
      question = asked;
      if (asked === 'binding') {
        if (rest.length === 0) throw usageError('expected binding name');
        binding = rest.shift()!;
      }
    } else if (flag === '--use-output' || flag === '-u') modes.useOutput = true;
    else if (flag === '--include-outputs') modes.includeOutputs = true;
    else if (['--force-realise', '--force-realize', '-f'].includes(flag)) modes.forceRealise = true;
    else throw usageError(`unknown flag '${flag}'`);
  }
  const store = await session.store();
  await answer(question ?? 'outputs', { session, store, args: rest, binding, ...modes });
  return 0;
}

async function answer(question: Question, query: Query): Promise<void> {
  const { store, args } = query;
  const follow = (text: string): StorePath => followToStorePath(text, store.storeDir);
  const show = (paths: Iterable<StorePath>): void =>
    printLines([...paths].map((path) => store.storeDir.format(path)));
  switch (question) {
    case 'outputs':
      for (const text of args) show(await resolveOutputs(query, follow(text), true));
      return;
    case 'requisites':
    case 'references':
    case 'referrers':
    case 'referrers-closure':
      return show(await relatives(question, query, await namedPaths(query)));
    case 'deriver':
      for (const text of args) {
        const { deriver } = await queryValid(store, follow(text));
        printLines([deriver === undefined ? 'unknown-deriver' : store.storeDir.format(deriver)]);
      }
      return;
    case 'valid-derivers':
      for (const text of args) show((await store.queryValidDerivers(follow(text))).sort());
      return;
    case 'binding':
      for (const text of args) await printBinding(query, follow(text));
      return;
    case 'hash':
    case 'size':
      for (const path of await namedPaths(query)) {
        const { narHash, narSize } = await queryValid(store, path);
        printLines([question === 'hash' ? narHash.format('nix32') : String(narSize)]);
      }
      return;
    case 'tree': {
      const { printTree } = await import('./store-graph.js');
      return printTree(store, args.map(follow));
    }
    case 'graph':
    case 'graphml': {
      const { printDot, printGraphMl } = await import('./store-graph.js');
      const roots = new Set(await namedPaths(query));
      return question === 'graph' ? printDot(store, roots) : printGraphMl(store, roots);
    }
    case 'resolve':
      return show(args.map(follow));
    case 'roots':
      return printRoots(query, await namedPaths(query));
  }
}

/** The paths that the arguments mean, after `--use-output` and `--force-realise`. */
async function namedPaths(query: Query): Promise<StorePath[]> {
  const paths: StorePath[] = [];
  for (const text of query.args) {
    const path = followToStorePath(text, query.store.storeDir);
    paths.push(...(await resolveOutputs(query, path, query.useOutput)));
  }
  return paths;
}

async function resolveOutputs(query: Query, path: StorePath, useOutput: boolean): Promise<StorePath[]> {
  const { store, session, forceRealise } = query;
  if (forceRealise) {
    const { realiseTargets } = await import('./realise.js');
    const target = isDerivationPath(path)
      ? ({ type: 'derivation', path } as const)
      : ({ type: 'path', path } as const);
    const outcome = await realiseTargets(session, [target], {});
    if (outcome.status !== 0) throw new Error(`cannot realise '${store.storeDir.format(path)}'`);
    if (useOutput && isDerivationPath(path)) return [...outcome.outputs[0]!.values()].sort();
  }
  return useOutput && isDerivationPath(path) ? listOutputs(store, path) : [path];
}

async function relatives(
  question: 'requisites' | 'references' | 'referrers' | 'referrers-closure',
  { store, includeOutputs }: Query,
  paths: readonly StorePath[],
): Promise<StorePath[]> {
  const found = new Set<StorePath>();
  const add = (more: Iterable<StorePath>): void => {
    for (const path of more) found.add(path);
  };
  if (question === 'requisites')
    add((await queryRequisites(store, paths, { outputs: includeOutputs })).keys());
  else if (question === 'referrers-closure') add(await queryDependents(store, paths));
  else if (question === 'referrers') for (const path of paths) add(await store.queryReferrers(path));
  else for (const path of paths) add((await queryValid(store, path)).references);
  return sortPaths(store, found);
}

async function printBinding({ store, binding }: Query, path: StorePath): Promise<void> {
  const derivation = await findDeriver(store, path);
  const { env } = await readStoreDerivation(store, derivation);
  const value = env.get(Buffer.from(binding).toString('latin1'));
  if (value === undefined) {
    const full = store.storeDir.format(derivation);
    throw new Error(`derivation '${full}' has no environment binding named '${binding}'`);
  }
  print(`${value}\n`, 'latin1');
}

async function printRoots({ session, store }: Query, paths: readonly StorePath[]): Promise<void> {
  const kept = await queryDependents(store, paths, {
    derivers: session.flag('keep-outputs', false),
    outputs: session.flag('keep-derivations', true),
  });
  const { findRoots } = await import('@larder/builder/gc/collect-garbage');
  const roots = 'layout' in store ? findRoots(store) : await store.findRoots();
  for (const target of [...roots.keys()].sort()) {
    if (!kept.has(target)) continue;
    for (const place of [...roots.get(target)!].sort())
      printLines([`${place} -> ${store.storeDir.format(target)}`]);
  }
}
