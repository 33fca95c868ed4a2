import type { CacheDescription } from '@larder/signing/upload';
import type { Command } from 'commander';
import { createGcCommand } from './cache-gc.js';
import { addRetentionOptions, describeLimits, type RetentionOptions, readLimits } from './cache-limits.js';
import { createRemoveKeyCommand, createResignCommand } from './cache-resign.js';
import { createVerb, usageError } from './command.js';
import { addServerOptions, ServerApi, type ServerOptions } from './server-api.js';

interface CreateOptions extends ServerOptions, RetentionOptions {
  readonly public?: true;
  readonly private?: true;
  readonly priority?: string;
  readonly storeDir?: string;
  readonly json?: true;
}

export function createCommand(): Command {
  const cache = createVerb('cache', {
    summary: "List, make, change and delete a server's caches, and rotate their keys.",
    examples: [
      [
        'larder cache create team-a --server https://cache.example.org --token-file admin-token',
        'a private cache with a key of its own',
      ],
      ['larder cache key add team-a', 'begin a rotation: both keys sign from now on'],
    ],
  });
  cache.addCommand(list());
  cache.addCommand(create());
  cache.addCommand(configure());
  cache.addCommand(remove());
  cache.addCommand(createGcCommand());
  cache.addCommand(keys());
  return cache;
}

function list(): Command {
  return addServerOptions(
    createVerb('list', {
      summary: 'List the caches.',
      examples: [['larder cache list', 'all that the token may see']],
    }),
  )
    .option('--json', 'print JSON')
    .action(async (options: CreateOptions) => {
      const api = await ServerApi.open(options);
      const { caches } = await api.call<{ caches: CacheDescription[] }>('GET', 'caches');
      print(caches, options);
    });
}

function create(): Command {
  return addServerOptions(
    createVerb('create', {
      summary: 'Make a cache, with a signing key of its own.',
      examples: [['larder cache create team-a --public --priority 20', 'one that everyone may read']],
    }),
  )
    .argument('<name>', 'small letters, digits, - and _')
    .option('--public', 'everyone may read it')
    .option('--priority <number>', 'lower is asked first (30; cache.nixos.org has 40)')
    .option('--store-dir <dir>', 'the store directory of its paths (/nix/store)')
    .option('--json', 'print JSON')
    .action(async (name: string, options: CreateOptions) => {
      const api = await ServerApi.open(options);
      const made = await api.call<CacheDescription>('POST', 'caches', {
        name,
        public: options.public === true,
        priority: parsePriority(options.priority),
        storeDir: options.storeDir,
      });
      print([made], options);
    });
}

function configure(): Command {
  const command = addServerOptions(
    createVerb('configure', {
      summary: "Change a cache's settings.",
      examples: [
        ['larder cache configure team-a --private', 'only tokens may read it from now on'],
        [
          'larder cache configure team-a --retention-unused 90d --retention-size 500GB',
          'what nobody fetched for so long goes, and the least recently used of what is too much',
        ],
        [
          'larder cache configure main --upstream https://cache.nixos.org --upstream-key cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=',
          'what is not here is fetched from there, kept, and served from here',
        ],
        [
          'larder cache configure team-a --retention none --quota 1TB',
          'nothing goes, and no more than so much comes',
        ],
      ],
    }),
  )
    .argument('<name>', 'the cache')
    .option('--public', 'everyone may read it')
    .option('--private', 'only tokens may read it')
    .option('--priority <number>', 'lower is asked first')
    .option('--json', 'print JSON');
  return addRetentionOptions(command).action(async (name: string, options: CreateOptions) => {
    if (options.public && options.private) throw usageError('--public or --private, not both');
    const isPublic = options.public ?? (options.private ? false : undefined);
    const priority = parsePriority(options.priority);
    const limits = readLimits(options);
    if (isPublic === undefined && priority === undefined && Object.keys(limits).length === 0)
      throw usageError('what is to change? --help shows the settings');
    const api = await ServerApi.open(options);
    const change = { public: isPublic, priority, ...limits };
    print([await api.call<CacheDescription>('PATCH', `caches/${encodeURIComponent(name)}`, change)], options);
  });
}

function remove(): Command {
  return addServerOptions(
    createVerb('delete', {
      summary: 'Delete a cache and every path in it. There is no way back.',
      examples: [['larder cache delete team-a --yes', 'without --yes it only says what it would do']],
    }),
  )
    .argument('<name>', 'the cache')
    .option('--yes', 'really')
    .action(async (name: string, options: ServerOptions & { readonly yes?: true }) => {
      if (options.yes !== true) throw usageError(`this deletes '${name}' and every path in it; say --yes`);
      const api = await ServerApi.open(options);
      await api.call('DELETE', `caches/${encodeURIComponent(name)}`);
    });
}

function keys(): Command {
  const key = createVerb('key', {
    summary: "Rotate a cache's signing keys.",
    examples: [['larder cache key add main', 'one more key, which signs beside the others']],
  });
  const add = createVerb('add', {
    summary: 'Make one more signing key. Tell clients of it before the old one is retired.',
    examples: [['larder cache key add main --name cache.example.org-2', 'under a name of your choice']],
  })
    .argument('<cache>', 'the cache')
    .option('--name <name>', 'the name of the key (the next free <cache>-<number>)')
    .option('--json', 'print JSON')
    .action(async (cache: string, options: CreateOptions & { readonly name?: string }) => {
      const api = await ServerApi.open(options);
      const path = `caches/${encodeURIComponent(cache)}/keys`;
      print([await api.call<CacheDescription>('POST', path, { name: options.name })], options);
    });
  const retire = createVerb('retire', {
    summary: 'Sign no more with a key. Its public half stays listed, for what it signed.',
    examples: [['larder cache key retire main main-1', 'once every client trusts the new key']],
  })
    .argument('<cache>', 'the cache')
    .argument('<key>', 'the name of the key')
    .option('--json', 'print JSON')
    .action(async (cache: string, name: string, options: CreateOptions) => {
      const api = await ServerApi.open(options);
      const path = `caches/${encodeURIComponent(cache)}/keys/${encodeURIComponent(name)}`;
      print([await api.call<CacheDescription>('PATCH', path, { active: false })], options);
    });
  return key
    .addCommand(addServerOptions(add))
    .addCommand(addServerOptions(retire))
    .addCommand(createResignCommand())
    .addCommand(createRemoveKeyCommand());
}

function parsePriority(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,4}$/.test(text)) throw usageError(`--priority takes a number, not '${text}'`);
  return Number(text);
}

function print(caches: readonly CacheDescription[], { json }: { readonly json?: true }): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(caches, undefined, 2)}\n`);
    return;
  }
  for (const cache of caches) {
    const { url, public: isPublic, priority, publicKeys } = cache;
    process.stdout.write(`${url}  ${isPublic ? 'public' : 'private'}, priority ${priority}\n`);
    for (const line of [...publicKeys, ...describeLimits(cache)]) process.stdout.write(`  ${line}\n`);
  }
}
