import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import type { StorePath } from '@larder/signing/store-path';
import { PushQueue } from '@larder/substituter/push-queue/push-queue';
import type { PushTarget } from '@larder/substituter/push-queue/push-target';
import { QueueRoots } from '@larder/substituter/push-queue/queue-roots';
import { parseStoreUri } from '@larder/substituter/store-uri';
import { readCliEnvironment } from '../config.js';
import { defaultQueueFile } from './queue-file.js';
import { startWorker } from './queue-start.js';

/** How long another process's transaction may hold up a build, in milliseconds. */
const patience = 2_000;

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Queues what Nix says it built. A build waits for this, so it does the least, and loads the least: no option parser, no
 * settings, no connection. It never fails, since Nix would take that for a failure of the build.
 */
export function runQuickly(args: readonly string[]): number | undefined {
  const { variables } = readCliEnvironment();
  const parsed = parseHookArguments(args);
  // Called by a person: let the ordinary way say how it is used, or run the worker.
  if (parsed === undefined || variables.OUT_PATHS === undefined) return undefined;
  try {
    const store = findStore(parsed.target.store, variables);
    const paths = findOutputs(store, variables.OUT_PATHS, variables.DRV_PATH);
    const queue = PushQueue.open(parsed.queue ?? defaultQueueFile(variables), { patience });
    try {
      // Rooted first: once it is queued, somebody relies on it.
      new QueueRoots(store.stateDir, store.storeDir).add(paths);
      const worker = queue.add({ ...parsed.target, store: store.uri }, paths);
      if (parsed.start) startWorker(queue, worker);
    } finally {
      queue.close();
    }
  } catch (error) {
    process.stderr.write(`larder: not queued for ${parsed.target.cache}: ${(error as Error).message}\n`);
  }
  return 0;
}

/**
 * The paths in `OUT_PATHS`. Nix 2.8 leaves it empty, whatever it built: then those that the derivation names, which stand
 * at the very start of it. The worker looks closer: what is no valid path is not pushed.
 */
function findOutputs(store: HookStore, outPaths: string, derivation: string | undefined): StorePath[] {
  const given = outPaths.split(/\s+/).filter((path) => path !== '');
  if (given.length > 0 || derivation === undefined) return given.map((path) => basename(path) as StorePath);
  const text = readFileSync(`${store.realStoreDir}/${basename(derivation)}`, 'latin1');
  const outputs = text.slice(0, text.indexOf(')],['));
  return [...outputs.matchAll(/\("[^"]+","([^"]+)"/g)].map(([, path]) => basename(path!) as StorePath);
}

interface HookArguments {
  readonly target: PushTarget;
  readonly queue: string | undefined;
  readonly start: boolean;
}

/** `undefined` for what the ordinary way must explain. */
function parseHookArguments(args: readonly string[]): HookArguments | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        store: { type: 'string', default: 'auto' },
        queue: { type: 'string' },
        'token-file': { type: 'string' },
        'secret-key-file': { type: 'string', multiple: true },
        upstream: { type: 'string', multiple: true },
        'upstream-key': { type: 'string', multiple: true },
        'no-start': { type: 'boolean', default: false },
      },
    });
    const [cache, ...more] = positionals;
    if (cache === undefined || more.length > 0) return undefined;
    const target: PushTarget = {
      cache,
      store: values.store,
      ...(values['token-file'] === undefined ? {} : { tokenFile: values['token-file'] }),
      ...(values['secret-key-file'] === undefined ? {} : { secretKeyFiles: values['secret-key-file'] }),
      ...(values.upstream === undefined ? {} : { upstreams: values.upstream }),
      ...(values['upstream-key'] === undefined ? {} : { upstreamKeys: values['upstream-key'] }),
    };
    return { target, queue: values.queue, start: !values['no-start'] };
  } catch {
    return undefined;
  }
}

interface HookStore {
  /** In a form that means the same to a process with another environment. */
  readonly uri: string;
  readonly stateDir: string;
  readonly storeDir: string;
  readonly realStoreDir: string;
}

/** The store that was built into. Nix hands its settings over in `NIX_CONFIG`, so no file has to be read. */
function findStore(given: string, variables: Variables): HookStore {
  const configured = /^store = (.+)$/m.exec(variables.NIX_CONFIG ?? '')?.[1];
  const uri = given === 'auto' ? (configured ?? (variables.NIX_REMOTE || 'auto')) : given;
  const storeDir = variables.NIX_STORE_DIR || '/nix/store';
  const stateDir = variables.NIX_STATE_DIR || '/nix/var/nix';
  if (uri === 'auto' || uri === 'local') {
    return { uri: spellOut(variables), stateDir, storeDir, realStoreDir: storeDir };
  }
  const { parameters } = parseStoreUri(uri);
  const root = parameters.get('root')?.replace(/\/+$/, '') ?? '';
  const logical = parameters.get('store') ?? storeDir;
  return {
    uri,
    stateDir: parameters.get('state') ?? (root === '' ? stateDir : `${root}/nix/var/nix`),
    storeDir: logical,
    realStoreDir: parameters.get('real') ?? (root === '' ? logical : `${root}/nix/store`),
  };
}

/** The machine's store; with its directories, where variables move them. */
function spellOut(variables: Variables): string {
  const moved = Object.entries({
    store: variables.NIX_STORE_DIR,
    state: variables.NIX_STATE_DIR,
    log: variables.NIX_LOG_DIR,
  }).flatMap(([name, value]) => (value ? [`${name}=${encodeURIComponent(value)}`] : []));
  return moved.length === 0 ? 'auto' : `local?${moved.join('&')}`;
}
