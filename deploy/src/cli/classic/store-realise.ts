import type { RealisedOutputs } from '@larder/builder/realise/realiser';
import type { Target } from '@larder/builder/realise/targets';
import { printLines } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import { planTargets, realiseTargets, showPlan } from './realise.js';
import { addRoot, warnOfMissingRoot } from './roots.js';
import type { ToolSession, ToolStore } from './session.js';
import { followToTarget } from './store-arguments.js';
import { readFlags } from './store-flags.js';

/** `nix-store --realise`. */
export async function run(session: ToolSession, request: OperationRequest): Promise<number> {
  const flags = readFlags(request.flags, ['--dry-run', '--repair', '--check', '--ignore-unknown']);
  const store = await session.store();
  let targets: readonly Target[] = request.args.map((text) => followToTarget(text, store.storeDir));
  const ignoreUnknown = flags.has('--ignore-unknown');
  if (ignoreUnknown || flags.has('--dry-run')) {
    const plan = await planTargets(session, targets);
    if (ignoreUnknown) targets = targets.filter(({ path }) => !plan.unknown.includes(path));
    if (flags.has('--dry-run')) {
      showPlan(session, ignoreUnknown ? { ...plan, unknown: [], incomplete: [] } : plan, store);
      return 0;
    }
  }
  const mode = flags.has('--repair') ? 'repair' : flags.has('--check') ? 'check' : 'build';
  const { status, outputs } = await realiseTargets(session, targets, { mode });
  if (status !== 0 || ignoreUnknown) return status;
  for (const [index, realised] of outputs.entries()) {
    const lines = await rootOutputs(session, store, { realised, number: index + 1, link: request.addRoot });
    if (!request.quiet) printLines([...new Set(lines)].sort());
  }
  return 0;
}

interface RootedOutputs {
  readonly realised: RealisedOutputs;
  /** The target's place among all, from 1. */
  readonly number: number;
  readonly link: string | undefined;
}

/** What to print for a target: its outputs, or the links that root them. */
async function rootOutputs(
  session: ToolSession,
  store: ToolStore,
  { realised, number, link }: RootedOutputs,
): Promise<string[]> {
  const lines: string[] = [];
  for (const [name, path] of realised) {
    if (link === undefined) {
      warnOfMissingRoot(session);
      lines.push(store.storeDir.format(path));
      continue;
    }
    const numbered = number === 1 ? link : `${link}-${number}`;
    lines.push(await addRoot(store, name === 'out' ? numbered : `${numbered}-${name}`, path));
  }
  return lines;
}
