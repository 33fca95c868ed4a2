import { LarderError } from '@larder/signing/errors';
import { MachineRoot } from '../activate/machine-root.js';
import type { Engines } from '../rebuild/engines.js';
import type { RebuildContext } from '../rebuild/rebuild.js';
import { usageError } from './command.js';
import { checkLockOptions, type RebuildCall, type RebuildOptions, toRequest } from './rebuild-options.js';

/** What `larder rebuild` can be told to do. */
export const actions = [
  'switch',
  'boot',
  'test',
  'build',
  'dry-build',
  'dry-activate',
  'build-vm',
  'rollback',
  'list-generations',
  'diff',
  'pin',
] as const;
export type Action = (typeof actions)[number];

/** Does it. Results go to standard output, everything for people to standard error. */
export async function runRebuild(action: Action, call: RebuildCall): Promise<void> {
  const { others, options } = call;
  if (action !== 'diff' && others.length > 0)
    throw usageError(`'${others[0]}' after '${action}': not expected`);
  if (options.hook !== undefined && options.targetHost !== undefined) {
    throw usageError(
      '--hook does not go with --target-host: it is told of the generations of the machine it runs on. --pin works there',
    );
  }
  checkLockOptions(call);
  const root = new MachineRoot(options.root);
  switch (action) {
    case 'list-generations':
      return printGenerations(root, options);
    case 'rollback':
      return goBack(root, 'switch', call);
    case 'diff':
      return printDifference(root, call);
    case 'pin':
      return (await import('./rebuild-pins.js')).pinNow(root, options);
    case 'dry-build':
    case 'build-vm':
      if (options.rollback) throw usageError(`--rollback does not go with ${action}`);
      return rebuild(root, action, call);
    case 'switch':
    case 'boot':
    case 'test':
    case 'build':
    case 'dry-activate':
      return options.rollback ? goBack(root, action, call) : rebuild(root, action, call);
  }
}

function report(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function printGenerations(root: MachineRoot, { profileName, json }: RebuildOptions): Promise<void> {
  const { formatGenerations, listGenerations } = await import('../rebuild/generation-list.js');
  const generations = await listGenerations(root, profileName);
  process.stdout.write(`${json ? JSON.stringify(generations, null, 2) : formatGenerations(generations)}\n`);
}

async function goBack(
  root: MachineRoot,
  action: 'switch' | 'boot' | 'test' | 'build' | 'dry-activate',
  call: RebuildCall,
): Promise<void> {
  const { options } = call;
  const { targetHost } = options;
  if (targetHost !== undefined) {
    if (action === 'build') throw usageError('--target-host has nothing to do in a rollback that only looks');
    const { goBackElsewhere } = await import('./rebuild-elsewhere.js');
    return goBackElsewhere(targetHost, action, call);
  }
  const [{ findRollback, rollBack }, { chooseVariant, runSwitch }] = await Promise.all([
    import('../rebuild/rollback.js'),
    import('../activate/switch-system.js'),
  ]);
  const changes = action === 'switch' || action === 'boot';
  const onWait = (path: string): void =>
    report(`Another process is changing the profile: waiting for ${path}`);
  const { number, target } = changes
    ? await rollBack(root, { ...options, onWait })
    : await findRollback(root, options);
  if (action === 'build') {
    process.stdout.write(`${target}\n`);
    return;
  }
  if (changes) report(`Generation ${number} is the current one and the default of the next start.`);
  await runSwitch(root, { system: await chooseVariant(root, target, options.specialisation), action });
  if (changes) await afterSwitch(root, options);
}

/** What follows a change of generations. None of it makes the change fail, which is done. */
async function afterSwitch(root: MachineRoot, options: RebuildOptions): Promise<void> {
  const { hook, profileName } = options;
  if (hook !== undefined) {
    const { runSwitchHook } = await import('../activate/switch-hook.js');
    const { systemProfile } = await import('../activate/profile.js');
    const failure = await runSwitchHook(hook, { root, profile: systemProfile(root, profileName) });
    if (failure !== undefined) report(failure);
  }
  const { wantsPins } = await import('../rebuild/pin-settings.js');
  if (wantsPins(options)) await (await import('./rebuild-pins.js')).pinAfterSwitch(root, options);
}

async function printDifference(root: MachineRoot, call: RebuildCall): Promise<void> {
  const { findGenerations } = await import('../rebuild/generation-choice.js');
  const { diffClosures } = await import('../rebuild/closure-diff.js');
  const { formatDiff } = await import('../rebuild/summary.js');
  const [before, after] = await findGenerations(root, call.others, call.options.profileName);
  await using context = await openContext(root, call);
  const closures = [before, after].map(({ target }) => context.realiser.queryClosure(target));
  const [was, is] = await Promise.all(closures);
  const diff = diffClosures(was!, is!);
  if (call.options.json) process.stdout.write(`${JSON.stringify(diff, null, 2)}\n`);
  else
    process.stdout.write(`Generation ${before.number} → generation ${after.number}\n${formatDiff(diff)}\n`);
}

async function rebuild(
  root: MachineRoot,
  action: Exclude<Action, 'rollback' | 'list-generations' | 'diff' | 'pin'>,
  call: RebuildCall,
): Promise<void> {
  const steps = await import('../rebuild/rebuild.js');
  await using context = await openContext(root, call);
  const request = toRequest(call);
  const { storePath, targetHost } = call.options;
  if (action === 'dry-build') return await steps.planSystem(context, request);
  const product = action === 'build-vm' ? 'vm' : 'toplevel';
  const path =
    storePath === undefined
      ? (await steps.realiseSystem(context, request, product)).path
      : await steps.findSystem(context, storePath);
  if (action === 'build' || action === 'build-vm') {
    const { outLink } = call.options;
    if (outLink !== false) await steps.linkResult(context, outLink, path);
    process.stdout.write(`${action === 'build' ? path : await vmScript(root, path)}\n`);
  } else if (targetHost !== undefined) {
    const { activateElsewhere } = await import('./rebuild-elsewhere.js');
    await activateElsewhere(call, { path, host: targetHost, action });
  } else if (action === 'dry-activate') {
    await steps.switchTo(context, request, { system: path, action });
  } else {
    await steps.activateSystem(context, request, { system: path, action });
    if (action !== 'test') await afterSwitch(root, call.options);
  }
}

/** The script in a virtual machine's package, as this machine finds it. */
async function vmScript(root: MachineRoot, path: string): Promise<string> {
  const { readdir } = await import('node:fs/promises');
  const script = (await readdir(root.physical(`${path}/bin`))).find((name) => /^run-.*-vm$/.test(name));
  if (script === undefined) throw new LarderError('vm-malformed', `${path}/bin has no run-…-vm`);
  return root.physical(`${path}/bin/${script}`);
}

/** Only a call that builds or compares needs engines; a rollback loads none of their code. */
async function openContext(root: MachineRoot, call: RebuildCall): Promise<RebuildContext & Engines> {
  const { settings, options } = call;
  const { openEngines } = await import('../rebuild/engines.js');
  const flakes: [string, string][] =
    options.flake === undefined ? [] : [['experimental-features', 'nix-command flakes']];
  const engines = await openEngines({
    root: root.directory,
    settings: [...flakes, ...settings],
    evaluator: options.evaluator,
    realiser: options.realiser,
    showProgress: async (storeDir) =>
      (await import('./build-progress.js')).createBuildProgress('auto', storeDir),
    onWait: (path) => report(`Waiting for the lock on ${path}`),
  });
  if (options.buildHost === undefined) return { ...engines, root, report };
  const { BuildHostRealiser } = await import('../rebuild/build-host.js');
  const { openHost, remoteCopyOptions } = await import('./rebuild-elsewhere.js');
  const host = openHost(options.buildHost, options);
  const realiser = new BuildHostRealiser(engines.realiser, host, {
    ...remoteCopyOptions(call),
    report,
  });
  return { ...engines, realiser, root, report };
}
