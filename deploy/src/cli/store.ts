import { once } from 'node:events';
import { decompress } from '@larder/signing/codec';
import { LarderError } from '@larder/signing/errors';
import type { HashAlgorithm } from '@larder/signing/hash';
import { hashAlgorithms } from '@larder/signing/hash';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { addPath } from '@larder/substituter/local-store/add-path';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { StoreOptimiser } from '@larder/substituter/local-store/optimise';
import { isCacheUri, openMachineStore, openSource } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import { type Command, Option } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { runQuery } from './store-query.js';
import { formatBytes } from './units.js';

export interface StoreOptions extends ClientOptions {
  readonly store: string;
}

export function createCommand(): Command {
  const store = createVerb('store', {
    summary: 'Add to a store, and ask it what it has.',
    examples: [
      ['larder store add ./config --store local?root=/mnt', 'add a tree; its store path is printed'],
      ['larder store query --referrers /nix/store/…-openssl-3.0', 'what depends on a path'],
    ],
  });
  for (const each of [add(), query(), dump(), optimise()]) store.addCommand(each);
  return store;
}

function withStore(command: Command): Command {
  return addClientOptions(command.option('--store <store>', 'the store', 'auto'));
}

interface AddOptions extends StoreOptions {
  readonly name?: string;
  readonly flat?: boolean;
  readonly algorithm: HashAlgorithm;
}

function add(): Command {
  const verb = createVerb('add', {
    summary: 'Add files and trees under the store paths that their contents give them, and print those.',
    examples: [['larder store add ./motd --name motd-1', "like 'nix-store --add'"]],
  })
    .argument('<file...>', 'what to add')
    .option('--name <name>', "the name in the store; the file's own without it")
    .option('--flat', 'address plain files by their bytes rather than by their archive')
    .addOption(new Option('--algorithm <name>', 'the hash').choices(hashAlgorithms).default('sha256'));
  return withStore(verb).action(async (files: string[], options: AddOptions) => {
    if (options.name !== undefined && files.length > 1) throw usageError('--name is for one file');
    await withMachineStore(options, async (store, session) => {
      for (const file of files) {
        const info = await addPath(store, file, {
          name: options.name,
          method: options.flat ? 'flat' : 'recursive',
          algorithm: options.algorithm,
          signal: session.signal,
        });
        process.stdout.write(`${store.storeDir.format(info.storePath)}\n`);
      }
    });
  });
}

function query(): Command {
  const verb = createVerb('query', {
    summary: "Ask a store about its paths, with the options of 'nix-store --query'.",
    examples: [
      ['larder store query --requisites ./result', 'a closure, references first'],
      ['larder store query --all', 'every valid path'],
    ],
  })
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .option('--references', 'what the paths refer to')
    .option('-R, --requisites', 'their closure, references first')
    .option('--referrers', 'what refers to them')
    .option('--referrers-closure', 'all that depends on them')
    .option('-d, --deriver', 'the derivation that each was built from')
    .option('--valid-derivers', 'the derivations in the store that have it as an output')
    .option('--outputs', 'the outputs of derivations')
    .option('--hash', 'the hash of their archives')
    .option('--size', 'the size of their archives in bytes')
    .option('--all', 'every valid path of the store');
  return withStore(verb).action(async (texts: string[], options: StoreOptions & Record<string, unknown>) => {
    await withMachineStore(options, async (store, session) => {
      const paths = await parsePathArguments(texts, {
        storeDir: store.storeDir,
        lookup: (hashPart) => store.queryPathFromHashPart(hashPart),
        signal: session.signal,
      });
      const lines = await runQuery(store, paths, options);
      process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    });
  });
}

function dump(): Command {
  const verb = createVerb('dump', {
    summary: "Write a path's archive, unpacked, to standard output; from a cache too.",
    examples: [
      [
        'larder store dump --store https://cache.nixos.org /nix/store/…-hello-2.12 | larder nar ls -R -',
        'look into a path that is not here',
      ],
    ],
  }).argument('<path>', 'a store path, its hash part, or a link to it');
  return withStore(verb).action(async (text: string, options: StoreOptions) => {
    await using session = await ClientSession.open(options);
    const source = await openSource(options.store, session.context);
    try {
      const { signal } = session;
      const lookup = source.queryPathFromHashPart.bind(source);
      const [path] = await parsePathArguments([text], { storeDir: source.storeDir, lookup, signal });
      const info = await source.queryPathInfo(path!, { signal });
      if (info === undefined) throw new LarderError('path-not-found', `${source.uri} does not have ${path}`);
      const { compression, bytes } = source.openPacked(info, { signal });
      const { narHash, narSize } = info;
      const expected = { compression: 'none', output: 'same', narHash, narSize, signal } as const;
      const nar = session.context.work.verifyNar(decompress(bytes, compression, { signal }), expected);
      for await (const chunk of nar.output) {
        if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
      }
      await nar.result;
    } finally {
      await source.close();
    }
  });
}

function optimise(): Command {
  const verb = createVerb('optimise', {
    summary:
      'Share the space of files with the same contents among all paths, by hard links as Nix makes them.',
    examples: [['larder store optimise', "like 'nix-store --optimise', also beside it"]],
  });
  return withStore(verb).action(async (options: StoreOptions) => {
    await withMachineStore(options, async (store, session) => {
      if (!(store instanceof LocalStore))
        throw usageError('only who may write the store can do this: run it as root');
      const { signal } = session;
      const optimiser = new StoreOptimiser(store.layout.realStoreDir, { onNote: note, signal });
      for (const path of await store.queryAllValidPaths()) {
        // Rooted first: what is valid then stays so.
        if ((await store.queryMissing([path], signal)).size === 0)
          await optimiser.optimise(store.realPath(path));
      }
      const { filesLinked, bytesFreed } = optimiser.result;
      process.stderr.write(`${formatBytes(bytesFreed)} freed by hard-linking ${filesLinked} files\n`);
    });
  });
}

async function withMachineStore(
  options: StoreOptions,
  work: (store: LocalStore | DaemonStore, session: ClientSession) => Promise<void>,
): Promise<void> {
  await using session = await ClientSession.open(options);
  const uri = parseStoreUri(options.store);
  if (isCacheUri(uri)) throw usageError(`'${options.store}' is not a store on this machine`);
  const store = await openMachineStore(uri, session.context);
  try {
    await work(store, session);
  } finally {
    await store.close();
  }
}
