import { LarderError } from '@larder/signing/errors';
import type { MachineRoot } from '../activate/machine-root.js';
import { type Generation, systemProfile } from '../activate/profile.js';
import type { SwitchAction } from '../activate/switch-system.js';
import { readOutputPath } from './output-path.js';
import type { EvaluationOptions, Evaluator, Realiser } from './pipeline.js';
import { type ConfigurationChoice, type SystemProduct, systemExpression } from './system-expression.js';

/** What a rebuild works with. */
export interface RebuildContext {
  readonly root: MachineRoot;
  readonly evaluator: Evaluator;
  readonly realiser: Realiser;
  /** Tells the user how it goes, on standard error. */
  readonly report: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface RebuildRequest {
  readonly choice: ConfigurationChoice;
  readonly evaluation: Omit<EvaluationOptions, 'signal'>;
  /** For another machine: what is current on this one is not its concern. */
  readonly elsewhere?: boolean;
  readonly profileName?: string;
  readonly bootMenu?: 'auto' | 'always' | 'never';
  readonly installBootLoader?: boolean;
  /** Activates this specialisation of the system instead of itself. */
  readonly specialisation?: string;
}

/** A system (or its virtual machine) that is in the store. */
export interface RealisedSystem {
  readonly path: string;
  /** The current generation's path before all this; `undefined` on a machine without one. */
  readonly before: string | undefined;
}

/** Evaluates the configuration and says what realising it takes: `dry-build`. */
export async function planSystem(context: RebuildContext, request: RebuildRequest): Promise<void> {
  const { formatPlan } = await import('./summary.js');
  const derivation = await instantiate(context, request, 'toplevel');
  const plan = await context.realiser.plan(derivation, context.signal);
  context.report(formatPlan(plan, await currentClosure(context, request)));
}

/** Evaluates and realises, with a summary before and after. Nothing that is in use changes. */
export async function realiseSystem(
  context: RebuildContext,
  request: RebuildRequest,
  product: SystemProduct = 'toplevel',
): Promise<RealisedSystem> {
  const { root, report } = context;
  const before = await currentSystem(root, request);
  if (before !== undefined && before === (await recallOutput(context, request, product))) {
    // A generation's closure is whole: there is nothing to ask the store for.
    report('The system is the one that is current already.');
    return { path: before, before };
  }
  const derivation = await instantiate(context, request, product);
  const expected = await readOutputPath(root, derivation);
  if (before !== undefined && before === expected) {
    report('The system is the one that is current already.');
    return { path: before, before };
  }
  const path = await realise(context, request, { derivation, expected });
  if (product === 'toplevel' && !request.elsewhere) await reportDifference(context, before, path);
  return { path, before };
}

/**
 * A system that is in the store already: `--store-path`.
 * @param path the store path, or a link to it
 * @throws `path-not-found`
 */
export async function findSystem({ root, realiser, signal }: RebuildContext, path: string): Promise<string> {
  const system = await root.tryResolve(path);
  if (system !== undefined && (await realiser.isValid(system, signal))) return system;
  throw new LarderError('path-not-found', `${root.physical(path)} is not a system in the store`);
}

async function currentSystem(root: MachineRoot, request: RebuildRequest): Promise<string | undefined> {
  if (request.elsewhere) return undefined;
  return (await systemProfile(root, request.profileName).current())?.target;
}

/** What an evaluation that need not be made again gives. */
async function recallOutput(
  { root, evaluator, signal }: RebuildContext,
  request: RebuildRequest,
  product: SystemProduct,
): Promise<string | undefined> {
  const expression = systemExpression(request.choice, product);
  const derivation = await evaluator.recall(expression, { ...request.evaluation, signal });
  return derivation === undefined ? undefined : readOutputPath(root, derivation);
}

async function realise(
  context: RebuildContext,
  request: RebuildRequest,
  { derivation, expected }: { readonly derivation: string; readonly expected: string | undefined },
): Promise<string> {
  const { realiser, report, signal } = context;
  if (expected !== undefined && (await realiser.isValid(expected, signal))) return expected;
  const { formatPlan } = await import('./summary.js');
  const plan = await realiser.plan(derivation, signal);
  if (plan.toBuild.length + plan.toFetch.length > 0)
    report(formatPlan(plan, await currentClosure(context, request)));
  return realiser.realise(derivation, signal);
}

/**
 * `switch`, `boot` and `test` from the realised system on. The order is what makes it atomic: see
 * {@link makeCurrent}; and the running system changes only after the next start is settled.
 */
export async function activateSystem(
  context: RebuildContext,
  request: RebuildRequest,
  { system, action }: { readonly system: string; readonly action: 'switch' | 'boot' | 'test' },
): Promise<Generation | undefined> {
  const { root } = context;
  const { chooseVariant } = await import('../activate/switch-system.js');
  // Found out before anything changes.
  await chooseVariant(root, system, request.specialisation);
  const generation = action === 'test' ? undefined : await registerGeneration(context, request, system);
  await switchTo(context, request, { system, action });
  if (generation !== undefined) {
    const where = root.physical(systemProfile(root, request.profileName).path);
    context.report(`Generation ${generation.number} of ${where} is the default from the next start on.`);
  }
  return generation;
}

async function registerGeneration(
  { root, report }: RebuildContext,
  request: RebuildRequest,
  system: string,
): Promise<Generation> {
  // A call that changes nothing loads none of it.
  const [{ makeCurrent }, { withProfileLock }] = await Promise.all([
    import('../activate/generations.js'),
    import('../activate/profile-lock.js'),
  ]);
  const profile = systemProfile(root, request.profileName);
  const onWait = (path: string): void =>
    report(`Another process is changing the profile: waiting for ${path}`);
  return withProfileLock(root, profile, { onWait }, () => makeCurrent(root, system, request));
}

/** Runs the system's own program for that, or says that it has none. */
export async function switchTo(
  context: RebuildContext,
  request: Pick<RebuildRequest, 'specialisation' | 'installBootLoader'>,
  { system, action }: { readonly system: string; readonly action: SwitchAction },
): Promise<void> {
  const { root, report, signal } = context;
  const { specialisation, installBootLoader } = request;
  const { chooseVariant, runSwitch } = await import('../activate/switch-system.js');
  const chosen = await chooseVariant(root, system, specialisation);
  if (!(await runSwitch(root, { system: chosen, action }, { installBootLoader, signal })))
    report(`${chosen} has no bin/switch-to-configuration: nothing was started or stopped.`);
}

/** `build` and `build-vm`: leaves a link that keeps the result. */
export async function linkResult(context: RebuildContext, link: string, path: string): Promise<void> {
  const { makeOutLink } = await import('./out-link.js');
  await makeOutLink(context.root, link, path);
}

async function instantiate(
  { evaluator, signal }: RebuildContext,
  request: RebuildRequest,
  product: SystemProduct,
): Promise<string> {
  return evaluator.instantiate(systemExpression(request.choice, product), { ...request.evaluation, signal });
}

async function currentClosure({ root, realiser, signal }: RebuildContext, request: RebuildRequest) {
  const current = await currentSystem(root, request);
  return current === undefined ? [] : realiser.queryClosure(current, signal);
}

async function reportDifference(
  { realiser, report, signal }: RebuildContext,
  before: string | undefined,
  after: string,
): Promise<void> {
  const [{ diffClosures }, { formatDiff }] = await Promise.all([
    import('./closure-diff.js'),
    import('./summary.js'),
  ]);
  const old = before === undefined ? [] : await realiser.queryClosure(before, signal);
  report(formatDiff(diffClosures(old, await realiser.queryClosure(after, signal))));
}
