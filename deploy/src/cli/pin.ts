import type { PinDescription, PinList, PinRevisionDescription } from '@larder/cache-server/http/pin-bodies';
import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';
import type { Command } from 'commander';
import { createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { addServerOptions, ServerApi, type ServerOptions } from './server-api.js';
import { formatDuration, parseDuration } from './units.js';

interface PinOptions extends ServerOptions {
  readonly keepLast?: string;
  readonly keepFor?: string;
  readonly json?: true;
}

export function createCommand(): Command {
  const pin = createVerb('pin', {
    summary:
      'Keep paths of a cache under a name, with all they refer to, whatever its retention says. Each change of what a ' +
      'name stands for is a revision; as many are kept as you say.',
    examples: [
      ['larder pin create main release ./result --keep-last 5', 'the last five releases stay'],
      ['larder pin create https://cache.example.org/main web-1 /run/current-system', "a machine's system"],
      ['larder pin history main release', 'what it stood for, and since when'],
    ],
  });
  return pin.addCommand(create()).addCommand(list()).addCommand(history()).addCommand(remove());
}

const CACHE = "the cache's name, or its URL";

function create(): Command {
  return addServerOptions(
    createVerb('create', {
      summary:
        'Make a name stand for paths that are in the cache; a name that is there gets a revision more.',
      examples: [
        ['larder pin create main release ./result', 'a link that a build left'],
        ['larder pin create main nightly ./result --keep-for 30d', 'each for a month at least'],
      ],
    }),
  )
    .argument('<cache>', CACHE)
    .argument('<name>', 'letters, digits and any of . _ + -')
    .argument('<path...>', 'store paths, or links to them')
    .option('--keep-last <number>', 'keep the newest so many revisions (1)')
    .option('--keep-for <time>', 'keep each at least that long: 12h, 30d, 1y')
    .option('--json', 'print JSON')
    .action(async (cache: string, name: string, texts: string[], options: PinOptions) => {
      const paths = await parsePathArguments(texts, {
        storeDir: new StoreDir(DEFAULT_STORE_DIR),
        lookup: async () => undefined,
        signal: new AbortController().signal,
      });
      const { api, path } = await ServerApi.openCache(cache, options);
      const pin = await api.call<PinDescription>('PUT', pinPath(path, name), {
        paths,
        keepLast: parseCount(options.keepLast),
        ...(options.keepFor === undefined ? {} : { keepFor: parseDuration(options.keepFor, '--keep-for') }),
      });
      print(options, pin, () => describe(pin));
    });
}

function list(): Command {
  return addServerOptions(
    createVerb('list', {
      summary: 'List the pins of a cache, each with what it stands for.',
      examples: [['larder pin list main', 'all of them']],
    }),
  )
    .argument('<cache>', CACHE)
    .option('--json', 'print JSON')
    .action(async (cache: string, options: PinOptions) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      const { pins } = await api.call<PinList>('GET', `${path}/pins`);
      print(options, pins, () => pins.map(describe).join(''));
    });
}

function history(): Command {
  return addServerOptions(
    createVerb('history', {
      summary: 'What a pin stood for, newest first. A star marks what is kept.',
      examples: [['larder pin history main release', 'all its revisions']],
    }),
  )
    .argument('<cache>', CACHE)
    .argument('<name>', 'the pin')
    .option('--json', 'print JSON')
    .action(async (cache: string, name: string, options: PinOptions) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      const pin = await api.call<PinDescription>('GET', pinPath(path, name));
      print(options, pin, () => pin.revisions.map(describeRevision).join(''));
    });
}

function remove(): Command {
  return addServerOptions(
    createVerb('delete', {
      summary: 'Take a pin away, with its history. Its paths go when nothing else keeps them.',
      examples: [['larder pin delete main release', 'no longer kept']],
    }),
  )
    .argument('<cache>', CACHE)
    .argument('<name>', 'the pin')
    .action(async (cache: string, name: string, options: PinOptions) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      await api.call('DELETE', pinPath(path, name));
    });
}

function pinPath(cachePath: string, name: string): string {
  return `${cachePath}/pins/${encodeURIComponent(name)}`;
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,4}$/.test(text)) throw usageError(`--keep-last takes a number from 1, not '${text}'`);
  return Number(text);
}

function describe({ name, keepLast, keepFor, revisions }: PinDescription): string {
  const kept = [
    ...(keepLast === undefined ? [] : [`keeps the last ${keepLast}`]),
    ...(keepFor === undefined ? [] : [`keeps each for ${formatDuration(keepFor)}`]),
  ];
  const [newest] = revisions;
  const remark = kept.length === 0 ? '' : `  (${kept.join(', ')})`;
  return `${name}${remark}\n${newest === undefined ? '' : describeRevision(newest)}`;
}

function describeRevision({ revision, paths, createdAt, createdBy, kept }: PinRevisionDescription): string {
  const by = createdBy === undefined ? '' : ` by ${createdBy}`;
  const lines = paths.map((path) => `      ${DEFAULT_STORE_DIR}/${path}\n`);
  return `  ${kept ? '*' : ' '} ${revision}  ${createdAt}${by}\n${lines.join('')}`;
}

function print({ json }: PinOptions, value: unknown, text: () => string): void {
  process.stdout.write(json === true ? `${JSON.stringify(value, undefined, 2)}\n` : text());
}
