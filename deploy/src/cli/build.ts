import type { BuildFailure } from '@larder/builder/build-failure';
import { readBuildSettings } from '@larder/builder/build-settings';
import { Builder } from '@larder/builder/builder';
import type { Plan } from '@larder/builder/realise/planner';
import type { RealisedOutputs } from '@larder/builder/realise/realiser';
import { parseTarget, type Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import { addIndirectRoot } from '@larder/substituter/local-store/gc-roots';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import { type Command, Option } from 'commander';
import { formatPlan } from './build-plan.js';
import { type BuildProgress, createBuildProgress, type LogFormat, wasShown } from './build-progress.js';
import { addClientOptions, addTrustOptions, type ClientOptions, ClientSession } from './client-session.js';
import { createVerb, usageError } from './command.js';

export interface BuildOptions extends ClientOptions {
  readonly store: string;
  readonly dryRun?: boolean;
  readonly maxJobs?: string;
  readonly cores?: string;
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
      ['larder build /nix/store/…-hello-2.12.drv', 'fetch or build it and link ./result to it'],
      ['larder build --dry-run /nix/store/…-hello-2.12.drv', 'only say what there is to do'],
      ["larder build '/nix/store/…-openssl-3.0.drv!dev' --no-out-link", 'one output, without a link'],
      ['larder build --check /nix/store/…-hello-2.12.drv', 'build again and compare'],
    ],
  })
    .argument('<target...>', 'derivations (….drv, ….drv!OUTPUT,…) and store paths')
    .option('--store <store>', 'the store to build into', 'auto')
    .option('--dry-run', 'print what would be fetched and built, and do nothing')
    .option('-j, --max-jobs <number>', "builds at a time, or 'auto' for one a processor")
    .option('--cores <number>', 'processors that each build may use, 0 for all')
    .option('-k, --keep-going', 'go on with what does not need a failed build')
    .option('-K, --keep-failed', 'leave the directory of a failed build')
    .option('--check', 'build again what is there, and fail if the outputs differ')
    .option('--rebuild', 'the same as --check')
    .option('-o, --out-link <name>', 'the name of the link to the output', 'result')
    .option('--no-out-link', 'make no link: the garbage collector may take the output away')
    .addOption(
      new Option('--log-format <format>', 'how builds are shown')
        .choices(['auto', 'bar', 'plain', 'json', 'quiet'])
        .default('auto'),
    );
  return addTrustOptions(addClientOptions(build)).action(runBuildVerb);
}

async function runBuildVerb(texts: string[], options: BuildOptions): Promise<void> {
  await using session = await ClientSession.open({ ...options, option: buildOverrides(options) });
  const store = await openSource(options.store, session.context);
  try {
    if (!(store instanceof LocalStore)) throw usageError(`'${options.store}' is not a store on this machine`);
    const targets = texts.map((text) => parseTarget(text, store.storeDir));
    await buildTargets(targets, { session, store, options });
  } finally {
    await store.close();
  }
}

/** Options of the verb that are settings of nix.conf. */
function buildOverrides(options: BuildOptions): [string, string][] {
  const overrides: [string, string][] = (options.option ?? []).map(([name, value]) => [name, value]);
  if (options.maxJobs !== undefined) overrides.push(['max-jobs', options.maxJobs]);
  if (options.cores !== undefined) overrides.push(['cores', options.cores]);
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
    await using builder = await Builder.open({
      store,
      settings: readBuildSettings(session.settings),
      client: session.context,
      ...session.trust(options),
      onEvent: progress.listener,
      signal: session.signal,
    });
    if (options.dryRun === true) {
      printPlan(await builder.plan(targets), store);
      return;
    }
    const mode = options.check === true || options.rebuild === true ? 'check' : 'build';
    const outputs = await builder.realise(targets, { mode }).catch((error: unknown) => {
      throw wasShown(error, options.logFormat) ? shortFailure(error as BuildFailure, store) : error;
    });
    progress.finish();
    publish(outputs, { store, options });
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
  { store, options }: Pick<BuildWork, 'store' | 'options'>,
): void {
  for (const [index, outputs] of realised.entries()) {
    for (const [name, path] of outputs) {
      if (options.outLink !== false)
        addIndirectRoot(store.layout, linkName(options.outLink, index, name), path);
      process.stdout.write(`${store.storeDir.format(path)}\n`);
    }
  }
}

function linkName(base: string, index: number, output: string): string {
  const numbered = index === 0 ? base : `${base}-${index + 1}`;
  return output === 'out' ? numbered : `${numbered}-${output}`;
}
