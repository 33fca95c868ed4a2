import { formatContentAddress } from '@larder/signing/content-address';
import { LarderError } from '@larder/signing/errors';
import type { NarInfo } from '@larder/signing/narinfo';
import { type PathInfo, sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { ClosureWalkHint } from '@larder/substituter/binary-cache/narinfo-walk';
import { resolveClosure } from '@larder/substituter/closure';
import { openSource } from '@larder/substituter/open-store';
import type { PathSource } from '@larder/substituter/store';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { formatBytes } from './units.js';

interface PathInfoOptions extends ClientOptions {
  readonly store: string;
  readonly recursive?: boolean;
  readonly size?: boolean;
  readonly closureSize?: boolean;
  readonly humanReadable?: boolean;
  readonly sigs?: boolean;
  readonly json?: boolean;
}

export function createCommand(): Command {
  const verb = createVerb('path-info', {
    summary: 'Show what a store or cache knows of paths: sizes, signatures, references.',
    examples: [
      ['larder path-info -rsh ./result', 'the size of each path of a closure'],
      [
        'larder path-info --store https://cache.nixos.org --json /nix/store/…-hello-2.12',
        'everything that cache says of a path',
      ],
    ],
  })
    .argument('<path...>', 'store paths, their hash parts, or links to them')
    .option('--store <store>', 'the store or cache to ask', 'auto')
    .option('-r, --recursive', 'all that the paths refer to, too')
    .option('-s, --size', 'with the size of each NAR in bytes')
    .option('-S, --closure-size', 'with the size of all NARs of its closure in bytes')
    .option('-h, --human-readable', 'sizes for people')
    .option('--sigs', 'with signatures, content address, and whether it was built here')
    .option('--json', 'as JSON: an object with an entry a path')
    .helpOption('--help', 'show this');
  return addClientOptions(verb).action(runPathInfo);
}

async function runPathInfo(texts: string[], options: PathInfoOptions): Promise<void> {
  await using session = await ClientSession.open(options);
  const source = await openSource(options.store, session.context);
  try {
    const roots = await parsePathArguments(texts, {
      storeDir: source.storeDir,
      lookup: (hashPart, read) => source.queryPathFromHashPart(hashPart, read),
      signal: session.signal,
    });
    if (roots.length === 0) throw usageError('name at least one path');
    const view = new PathInfoView(source, options, session.signal);
    const infos = options.recursive ? await view.closure(roots) : await view.each(roots);
    process.stdout.write(options.json ? await view.json(infos) : await view.table(infos));
  } finally {
    await source.close();
  }
}

class PathInfoView {
  readonly #source: PathSource;
  readonly #options: PathInfoOptions;
  readonly #signal: AbortSignal;

  constructor(source: PathSource, options: PathInfoOptions, signal: AbortSignal) {
    this.#source = source;
    this.#options = options;
    this.#signal = signal;
  }

  async each(paths: readonly StorePath[]): Promise<PathInfo[]> {
    return Promise.all(paths.map((path) => this.#find(path)));
  }

  /** References first. */
  async closure(roots: readonly StorePath[]): Promise<PathInfo[]> {
    const found = await resolveClosure(roots, {
      find: async (path, walk) => ({ info: await this.#find(path, walk), source: this.#source }),
      filter: async (paths) => new Set(paths),
      recursive: true,
      concurrency: 64,
      signal: this.#signal,
    });
    return sortByReferences(found.map(({ info }) => info));
  }

  async #find(path: StorePath, walk?: ClosureWalkHint): Promise<PathInfo> {
    const info = await this.#source.queryPathInfo(path, { signal: this.#signal, walk });
    if (info !== undefined) return info;
    throw new LarderError('path-not-found', `${this.#source.uri} does not have ${path}`, {
      fields: { path },
    });
  }

  async #closureSize(info: PathInfo): Promise<number> {
    return (await this.closure([info.storePath])).reduce((sum, { narSize }) => sum + narSize, 0);
  }

  async table(infos: readonly PathInfo[]): Promise<string> {
    const { size, closureSize, humanReadable, sigs } = this.#options;
    const shown = (bytes: number) => (humanReadable ? formatBytes(bytes) : String(bytes)).padStart(12);
    let text = '';
    for (const info of infos) {
      const columns = [this.#source.storeDir.format(info.storePath)];
      if (size) columns.push(shown(info.narSize));
      if (closureSize) columns.push(shown(await this.#closureSize(info)));
      if (sigs) columns.push(describeTrust(info));
      text += `${columns.join('\t').trimEnd()}\n`;
    }
    return text;
  }

  async json(infos: readonly PathInfo[]): Promise<string> {
    const entries: [string, unknown][] = [];
    for (const info of infos) {
      const closureSize = this.#options.closureSize ? { closureSize: await this.#closureSize(info) } : {};
      const { storeDir } = this.#source;
      entries.push([storeDir.format(info.storePath), { ...formatPathInfo(info, storeDir), ...closureSize }]);
    }
    return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
  }
}

function describeTrust(info: ValidPathInfo): string {
  const words = [...info.signatures];
  if (info.ultimate === true) words.push('ultimate');
  if (info.ca !== undefined) words.push(`ca:${formatContentAddress(info.ca)}`);
  return words.join(' ');
}

/** The names of `nix path-info --json`. */
function formatPathInfo(
  info: PathInfo & Partial<NarInfo> & Partial<ValidPathInfo>,
  storeDir: StoreDir,
): Record<string, unknown> {
  return {
    narHash: info.narHash.format('sri'),
    narSize: info.narSize,
    references: info.references.map((path) => storeDir.format(path)),
    deriver: info.deriver === undefined ? null : storeDir.format(info.deriver),
    signatures: info.signatures,
    ca: info.ca === undefined ? null : formatContentAddress(info.ca),
    ...(info.registrationTime === undefined ? {} : { registrationTime: info.registrationTime }),
    ...(info.ultimate === undefined ? {} : { ultimate: info.ultimate }),
    ...(info.url === undefined ? {} : { url: info.url, compression: info.compression }),
    ...(info.fileHash === undefined ? {} : { downloadHash: info.fileHash.format('sri') }),
    ...(info.fileSize === undefined ? {} : { downloadSize: info.fileSize }),
  };
}
