import { readFile } from 'node:fs/promises';
import { SecretKey } from '@larder/signing/key';
import type { StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { signPaths } from '@larder/substituter/care/sign-paths';
import { openSource } from '@larder/substituter/open-store';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession } from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { referenceClosure } from './reference-closure.js';

interface SignOptions extends ClientOptions {
  readonly store: string;
  readonly keyFile: readonly string[];
  readonly all?: boolean;
  readonly recursive?: boolean;
}

/** Narinfos or rows written at a time. */
const signaturesAtOnce = 16;

export function createCommand(): Command {
  const verb = createVerb('sign', {
    summary: 'Sign paths of a store or cache with your own key. Signatures that are there stay.',
    examples: [
      ['larder sign --key-file key.secret -r ./result', 'sign a build with all it refers to'],
      [
        'larder sign --key-file key.secret --store file:///srv/cache /nix/store/…-hello-2.12',
        'sign in a cache',
      ],
    ],
  })
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .requiredOption(
      '-k, --key-file <file>',
      'a secret key, as larder key generate makes it; repeatable',
      collect,
    )
    .option('--store <store>', 'the store or cache', 'auto')
    .option('--all', 'every path of the store')
    .option('-r, --recursive', 'all that the paths refer to, too');
  return addClientOptions(verb).action(runSign);
}

async function runSign(texts: string[], options: SignOptions): Promise<void> {
  await using session = await ClientSession.open(options);
  const keys = await Promise.all(
    options.keyFile.map(async (file) => SecretKey.parse(await readFile(file, 'utf8'))),
  );
  const store = await openSource(options.store, session.context);
  try {
    const paths = await choosePaths(texts, { store, options, session });
    const { signal } = session;
    const signed = await signPaths(store, paths, { keys, concurrency: signaturesAtOnce, signal });
    const rest = paths.length - signed;
    const already = rest === 0 ? '' : `, ${rest} had been signed before`;
    process.stderr.write(
      `signed ${signed} of ${paths.length} paths as ${keys.map(({ name }) => name).join(', ')}${already}\n`,
    );
  } finally {
    await store.close();
  }
}

interface Choice {
  readonly store: Awaited<ReturnType<typeof openSource>>;
  readonly options: SignOptions;
  readonly session: ClientSession;
}

async function choosePaths(
  texts: readonly string[],
  { store, options, session }: Choice,
): Promise<StorePath[]> {
  if (options.all === true) {
    if (texts.length > 0) throw usageError('give either --all or paths');
    if (store instanceof BinaryCache)
      throw usageError('--all needs a store on this machine; name the paths of a cache');
    return store.queryAllValidPaths();
  }
  if (texts.length === 0) throw usageError('name paths, or give --all');
  const { signal } = session;
  const roots = await parsePathArguments(texts, {
    storeDir: store.storeDir,
    lookup: (hashPart, read) => store.queryPathFromHashPart(hashPart, read),
    signal,
  });
  return options.recursive === true ? referenceClosure(store, roots, signal) : roots;
}
