import type { BuildMode } from '@larder/builder/build-job';
import type { Plan } from '@larder/builder/realise/planner';
import type { RealisedOutputs } from '@larder/builder/realise/realiser';
import type { Target } from '@larder/builder/realise/targets';
import { derivationOutputPath } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { formatPlan, planAsNix } from '../build-plan.js';
import type { BuildMessages } from './build-messages.js';
import { showError } from './messages.js';
import type { ToolSession, ToolStore } from './session.js';
import { readStoreDerivation } from './store-derivation.js';

export interface RealiseOptions {
  readonly mode?: BuildMode;
}

/** How realising ended: Nix's exit status, and the outputs of each target if all went well. */
export interface RealiseOutcome {
  readonly status: number;
  readonly outputs: readonly RealisedOutputs[];
}

/** Realises targets, telling what Nix tells; what failed is on standard error by then. */
export async function realiseTargets(
  session: ToolSession,
  targets: readonly Target[],
  { mode = 'build' }: RealiseOptions,
): Promise<RealiseOutcome> {
  const store = await session.store();
  if (!('layout' in store)) return realiseByDaemon(store, targets, mode);
  await store.addTempRoots(targets.map(({ path }) => path));
  if (mode === 'build') {
    const present = await queryPresent(store, targets);
    if (present !== undefined) return { status: 0, outputs: present };
  }
  const { BuildMessages } = await import('./build-messages.js');
  const messages = new BuildMessages(session, store.storeDir);
  const builder = await openBuilder(session, store, messages);
  try {
    return { status: 0, outputs: await builder.realise(targets, { mode }) };
  } catch (error) {
    messages.finish();
    session.signal.throwIfAborted();
    reportFailures(error, messages, store);
    const { nixExitStatus } = await import('@larder/builder/build-failure');
    return { status: nixExitStatus(messages.failures.map(({ code }) => code)), outputs: [] };
  } finally {
    messages.finish();
    await builder[Symbol.asyncDispose]();
  }
}

/** What realising the targets takes. */
export async function planTargets(session: ToolSession, targets: readonly Target[]): Promise<Plan> {
  const store = await session.localStore();
  await store.addTempRoots(targets.map(({ path }) => path));
  const { BuildMessages } = await import('./build-messages.js');
  const messages = new BuildMessages(session, store.storeDir);
  const builder = await openBuilder(session, store, messages);
  try {
    return await builder.plan(targets);
  } finally {
    messages.finish();
    await builder[Symbol.asyncDispose]();
  }
}

/** Says what there is to do, unless the settings say not to. */
export function showPlan(session: ToolSession, plan: Plan, store: ToolStore): void {
  if (!session.flag('print-missing', true)) return;
  for (const line of formatPlan(planAsNix(plan), store.storeDir)) session.say(line);
}

export async function openBuilder(session: ToolSession, store: LocalStore, messages: BuildMessages) {
  const { Builder } = await import('@larder/builder/builder');
  const { readBuildSettings } = await import('@larder/builder/build-settings');
  const { TrustedKeys } = await import('@larder/signing/trust');
  const { settings, signal } = session;
  return Builder.open({
    store,
    settings: readBuildSettings(settings, { fallback: false }),
    client: await session.client(),
    trusted: TrustedKeys.parse(settings.get('trusted-public-keys')),
    requireSignatures: settings.get('require-sigs'),
    onEvent: messages.listener,
    signal,
  });
}

/** The outputs of all targets if there is nothing to do: scripts ask for what is there, most of the time. */
async function queryPresent(
  store: LocalStore,
  targets: readonly Target[],
): Promise<RealisedOutputs[] | undefined> {
  if ((await store.queryMissing(targets.map(({ path }) => path))).size > 0) return undefined;
  const all: RealisedOutputs[] = [];
  for (const target of targets) {
    const outputs = new Map<string, StorePath>();
    if (target.type === 'path') outputs.set('out', target.path);
    else {
      const derivation = await readStoreDerivation(store, target.path);
      for (const name of target.outputs ?? derivation.outputs.keys()) {
        const path = derivation.outputs.has(name)
          ? derivationOutputPath(derivation, name, store.storeDir)
          : undefined;
        if (path === undefined) return undefined; // The builder says what is wrong, or finds it out.
        outputs.set(name, path);
      }
    }
    all.push(outputs);
  }
  const missing = await store.queryMissing(all.flatMap((outputs) => [...outputs.values()]));
  return missing.size === 0 ? all : undefined;
}

/** Shows what was not shown when it happened: what failed by itself, and what failed with it. */
function reportFailures(error: unknown, messages: BuildMessages, { storeDir }: LocalStore): void {
  const several = error instanceof LarderError && error.code === 'realise-failed';
  const failures = several ? (error.fields.failures as readonly Error[]) : [error as Error];
  for (const failure of failures) messages.showFailure(failure);
  if (!several) return;
  const paths = failures.flatMap((failure) => failedPath(failure) ?? []);
  const named = [...new Set(paths)].sort().map((path) => `'${storeDir.format(path)}'`);
  showError(`build of ${named.join(', ')} failed`);
}

function failedPath(error: Error): StorePath | undefined {
  const { derivation, path } = error instanceof LarderError ? error.fields : {};
  return (derivation ?? path) as StorePath | undefined;
}

async function realiseByDaemon(
  store: DaemonStore,
  targets: readonly Target[],
  mode: BuildMode,
): Promise<RealiseOutcome> {
  const wanted = targets.map((target) => {
    const full = store.storeDir.format(target.path);
    return target.type === 'path' ? full : `${full}!${target.outputs?.join(',') ?? '*'}`;
  });
  await store.buildPaths(wanted, mode);
  const outputs: RealisedOutputs[] = [];
  for (const target of targets) {
    if (target.type === 'path') outputs.push(new Map([['out', target.path]]));
    else {
      const all = await store.queryDerivationOutputs(target.path);
      outputs.push(new Map([...all].filter(([name]) => target.outputs?.includes(name) ?? true)));
    }
  }
  return { status: 0, outputs };
}
