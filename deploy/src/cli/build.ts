import type { BuildFailure } from '@larder/builder/build-failure';
import type { Plan } from '@larder/builder/realise/planner';
import type { RealisedOutputs } from '@larder/builder/realise/realiser';
import type { Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import { addIndirectRoot } from '@larder/substituter/local-store/gc-roots';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import { type Command, Option } from 'commander';
import { formatPlan } from './build-plan.js';
import {
  type BuildProgress,
  createBuildProgress,
  type LogFormat,
  logFormats,
  wasShown,
} from './build-progress.js';
import { type ExpressionOptions, findTargets } from './build-targets.js';
import {
  addClientOptions,
  addMemoryOptions,
  addTrustOptions,
  type ClientOptions,
  ClientSession,
} from './client-session.js';
import { createVerb, usageError } from './command.js';
import { openBuilder } from './session-builder.js';

export interface BuildOptions extends ClientOptions, ExpressionOptions {
  readonly store: string;
  readonly dryRun?: boolean;
  readonly maxJobs?: string;
  readonly cores?: string;
  readonly builders?: string;
  readonly keepGoing?: boolean;
  readonly keepFailed?: boolean;
  readonly check?: boolean;
  readonly rebuild?: boolean;
  readonly outLink: string | false;
  readonly logFormat: LogFormat;
}

export function createCommand(): Command {
  const build = createVerb('build', {
    summary: 'Realise derivations: fetch what caches have, build the rest, print the output paths.',
    examples: [
      ['larder build ./default.nix -A hello', 'fetch or build an attribute and link ./result to it'],
      ['larder build /nix/store/…-hello-2.12.drv', 'the same for a derivation'],
      ['larder build --dry-run /nix/store/…-hello-2.12.drv', 'only say what there is to do'],
      ["larder build '/nix/store/…-openssl-3.0.drv!dev' --no-out-link", 'one output, without a link'],
      ['larder build --check /nix/store/…-hello-2.12.drv', 'build again and compare'],
    ],
  })
    .argument('[target...]', 'derivations (….drv, ….drv!OUTPUT,…), store paths, and files with expressions')
    .option('-E, --expr <expression>', 'build what this expression gives', collectOne)
    .option('-A, --attr <path>', 'build these attributes of the expressions', collectOne)
    .option('-I, --include <path>', 'add to the search path of expressions', collectOne)
    .addOption(twoWords('--arg <name=expression>', 'give functions this argument'))
    .addOption(twoWords('--argstr <name=text>', 'give functions this text as an argument'))
    .option('--store <store>', 'the store to build into', 'auto')
    .option('--dry-run', 'print what would be fetched and built, and do nothing')
    .option('-j, --max-jobs <number>', "builds at a time, or 'auto' for one a processor")
    .option('--cores <number>', 'processors that each build may use, 0 for all')
    .option(
      '--builders <machines>',
      'other machines to build on, as in nix.conf: ssh-ng://USER@HOST SYSTEMS …; …',
    )
    .option('-k, --keep-going', 'go on with what does not need a failed build')
    .option('-K, --keep-failed', 'leave the directory of a failed build')
    .option('--check', 'build again what is there, and fail if the outputs differ')
    .option('--rebuild', 'the same as --check')
    .option('-o, --out-link <name>', 'the name of the link to the output', 'result')
    .option('--no-out-link', 'make no link: the garbage collector may take the output away')
    .addOption(
      new Option('--log-format <format>', 'how builds are shown').choices(logFormats).default('auto'),
    );
  return addMemoryOptions(addTrustOptions(addClientOptions(build))).action(runBuildVerb);
}

async function runBuildVerb(texts: string[], options: BuildOptions): Promise<void> {
  await using session = await ClientSession.open({ ...options, option: buildOverrides(options) });
  const store = await openSource(options.store, session.context);
  try {
    if (!(store instanceof LocalStore)) throw usageError(`'${options.store}' is not a store on this machine`);
    await using found = await findTargets(texts, { storeDir: store.storeDir, options });
    await buildTargets(found.targets, { session, store, options });
  } finally {
    await store.close();
  }
}

function collectOne(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

function twoWords(flags: string, description: string): Option {
  return new Option(flags, description).argParser(
    (text: string, previous: [string, string][] = []): [string, string][] => {
      const equals = text.indexOf('=');
      if (equals < 1) throw usageError(`${flags.split(' ')[0]} takes NAME=VALUE, not '${text}'`);
      return [...previous, [text.slice(0, equals), text.slice(equals + 1)]];
    },
  );
}

/** Options of the verb that are settings of nix.conf. */
function buildOverrides(options: BuildOptions): [string, string][] {
  const overrides: [string, string][] = (options.option ?? []).map(([name, value]) => [name, value]);
  if (options.maxJobs !== undefined) overrides.push(['max-jobs', options.maxJobs]);
  if (options.cores !== undefined) overrides.push(['cores', options.cores]);
  if (options.builders !== undefined) overrides.push(['builders', options.builders]);
  if (options.keepGoing === true) overrides.push(['keep-going', 'true']);
  if (options.keepFailed === true) overrides.push(['keep-failed', 'true']);
  return overrides;
}

interface BuildWork {
  readonly session: ClientSession;
  readonly store: LocalStore;
  readonly options: BuildOptions;
}

async function buildTargets(
  targets: readonly Target[],
  { session, store, options }: BuildWork,
): Promise<void> {
  await store.addTempRoots(targets.map(({ path }) => path));
  const progress: BuildProgress = createBuildProgress(options.logFormat, store.storeDir);
  try {
    await using builder = await openBuilder(session, { store, options, progress });
    if (options.dryRun === true) {
      printPlan(await builder.plan(targets), store);
      return;
    }
    const mode = options.check === true || options.rebuild === true ? 'check' : 'build';
    const outputs = await builder.realise(targets, { mode }).catch((error: unknown) => {
      throw wasShown(error, options.logFormat) ? shortFailure(error as BuildFailure, store) : error;
    });
    progress.finish();
    publish(outputs, targets, { store, options });
  } finally {
    progress.finish();
  }
}

/** In place of a failure whose message is on the screen already. */
function shortFailure(failure: BuildFailure, store: LocalStore): LarderError {
  return new LarderError('build-failed', `cannot build '${store.storeDir.format(failure.derivation)}'`);
}

function printPlan(plan: Plan, store: LocalStore): void {
  for (const line of formatPlan(plan, store.storeDir)) process.stdout.write(`${line}\n`);
}

/** Prints the outputs and links to them: `result`, `result-dev`, and with a number for further targets. */
function publish(
  realised: readonly RealisedOutputs[],
  targets: readonly Target[],
  { store, options }: Pick<BuildWork, 'store' | 'options'>,
): void {
  // Targets of one derivation share a number.
  const numbers = new Map<string, number>();
  for (const [index, outputs] of realised.entries()) {
    const { path: target } = targets[index]!;
    const number = numbers.get(target) ?? numbers.size;
    numbers.set(target, number);
    for (const [name, path] of outputs) {
      if (options.outLink !== false) {
        addIndirectRoot(store.layout, linkName(options.outLink, number, name), path);
      }
      process.stdout.write(`${store.storeDir.format(path)}\n`);
    }
  }
}

function linkName(base: string, index: number, output: string): string {
  const numbered = index === 0 ? base : `${base}-${index + 1}`;
  return output === 'out' ? numbered : `${numbered}-${output}`;
}
