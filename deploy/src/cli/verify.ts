import { availableParallelism } from 'node:os';
import type { StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { type Verdict, verifyPaths } from '@larder/substituter/care/verify-paths';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import type { Command } from 'commander';
import { addClientOptions, addTrustOptions, type ClientOptions, ClientSession } from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { parsePathArguments } from './path-arguments.js';
import { referenceClosure } from './reference-closure.js';
import { formatBytes } from './units.js';
import { verifyAgainst } from './verify-against.js';

interface VerifyOptions extends ClientOptions {
  readonly store: string;
  readonly all?: boolean;
  readonly recursive?: boolean;
  readonly repair?: boolean;
  readonly from?: readonly string[];
  readonly contents: boolean;
  readonly trust: boolean;
  readonly json?: boolean;
  readonly against?: readonly string[];
}

export function createCommand(): Command {
  const verb = createVerb('verify', {
    summary:
      'Check that paths of a store are there, unchanged, and signed by a trusted key. Exit status 1 if one is not.',
    examples: [
      ['larder verify --all', 'check the whole store of this machine'],
      [
        'larder verify --all --repair --from https://cache.example.org --no-trust',
        'look only at contents, and fetch anew what is damaged',
      ],
      [
        'larder verify -r --against https://cache.nixos.org --against https://cache.example.org ./result',
        'do caches that built it themselves have the same as I?',
      ],
    ],
  })
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .option('--store <store>', 'the store or cache to check', 'auto')
    .option('--all', 'every path of the store')
    .option('-r, --recursive', 'all that the paths refer to, too')
    .option('--no-contents', 'do not read the files')
    .option('--no-trust', 'do not look at signatures')
    .option(
      '--repair',
      'replace what is damaged or missing by a good copy: from a cache, else by building it again',
    )
    .option('--from <store>', 'where to repair from; the substituters of nix.conf without it', collect)
    .option(
      '--against <cache>',
      'do nothing but compare with what this cache has: which paths are reproducible, differing, unknown; repeatable',
      collect,
    )
    .option('--json', 'print a verdict a path as JSON, one a line, on standard output');
  return addTrustOptions(addClientOptions(verb)).action(runVerify);
}

async function runVerify(texts: string[], options: VerifyOptions): Promise<void> {
  await using session = await ClientSession.open({ ...options, option: settingsOf(options) });
  const source = await openSource(options.store, session.context);
  try {
    const paths = await choosePaths(texts, { source, options, session });
    if (options.against !== undefined) {
      const { against, json } = options;
      if (!(await verifyAgainst(paths, { against, json, session, source }))) process.exitCode = 1;
      return;
    }
    const verdicts = await verifyPaths(paths, {
      source,
      work: session.context.work,
      contents: options.contents,
      trusted: options.trust ? (await session.trust(options)).trusted : undefined,
      concurrency: availableParallelism() * 2,
      onVerified: (verdict) => report(verdict, options),
      signal: session.signal,
    });
    const faulty = verdicts.filter(({ faults }) => faults.length > 0);
    const left = options.repair ? await repair(faulty, { source, options, session }) : faulty;
    summarise(verdicts, left, options);
    if (left.length > 0) process.exitCode = 1;
  } finally {
    await source.close();
  }
}

/** Repairs come from the caches of the settings. */
function settingsOf({ option = [], from, repair: repairs }: VerifyOptions): ClientOptions['option'] {
  return repairs === true && from !== undefined ? [...option, ['substituters', from.join(' ')]] : option;
}

interface Job {
  readonly source: BinaryCache | LocalStore | DaemonStore;
  readonly options: VerifyOptions;
  readonly session: ClientSession;
}

async function choosePaths(
  texts: readonly string[],
  { source, options, session }: Job,
): Promise<StorePath[]> {
  if (options.all === true) {
    if (texts.length > 0) throw usageError('give either --all or paths');
    if (source instanceof BinaryCache)
      throw usageError('--all needs a store on this machine; name the paths of a cache');
    return (await source.queryAllValidPaths()).sort();
  }
  if (texts.length === 0) throw usageError('name paths, or give --all');
  const roots = await parsePathArguments(texts, {
    storeDir: source.storeDir,
    lookup: (hashPart, read) => source.queryPathFromHashPart(hashPart, read),
    signal: session.signal,
  });
  if (options.recursive !== true) return roots;
  return referenceClosure(source, roots, session.signal);
}

function report(verdict: Verdict, { json }: VerifyOptions): void {
  if (json) process.stdout.write(`${JSON.stringify(verdict)}\n`);
  else for (const detail of verdict.details) process.stderr.write(`${verdict.path}: ${detail}\n`);
}

function summarise(verdicts: readonly Verdict[], left: readonly Verdict[], { json }: VerifyOptions): void {
  if (json) return;
  const bytes = verdicts.reduce((sum, verdict) => sum + verdict.bytes, 0);
  const repaired = verdicts.filter(({ faults }) => faults.length > 0).length - left.length;
  const good = verdicts.length - left.length;
  const parts = [`${good} of ${verdicts.length} paths are good`, `${formatBytes(bytes)} read`];
  if (repaired > 0) parts.push(`${repaired} repaired`);
  process.stderr.write(`${parts.join(', ')}\n`);
}

/** What is still wrong afterwards. The builder is loaded for this alone. */
async function repair(faulty: readonly Verdict[], { source, options, session }: Job): Promise<Verdict[]> {
  if (!(source instanceof LocalStore)) throw usageError('--repair needs a store on this machine');
  const { repairFaulty } = await import('./verify-repair.js');
  return repairFaulty(faulty, { store: source, options, session });
}
