import { parseInstantiateArguments } from '@larder/builder/instantiate-arguments';
import { loadSettings } from '@larder/substituter/config';
import type { Assignment } from '@larder/substituter/settings/nix-conf';
import { describeMachine } from '../../evaluation-machine.js';
import { runOnMachine } from '../evaluation-session.js';
import { parseArguments } from './arguments.js';
import { EvalFlags, structuredLog } from './eval-flags.js';
import { LEVEL, print } from './messages.js';
import type { ToolContext } from './tool-context.js';

const help = `Usage: nix-instantiate [OPTION…] [FILE…]

Evaluates Nix expressions and prints the derivations it wrote to the store, or, with --eval, values:
as Nix's own nix-instantiate does.

  FILE…, -E EXPRESSION…, -         what to evaluate; ./default.nix without any
  -A, --attr PATH                  an attribute of it; repeatable
  --arg NAME EXPRESSION, --argstr NAME TEXT, -I PATH
  --eval                           print a value: --strict, --json, --xml, --raw, --read-write-mode
  --parse, --find-file, --dry-run, --readonly-mode
  --add-root LINK                  keep the derivations from garbage collection

All settings of nix.conf are options, and --option NAME VALUE sets any; --show-trace says more of errors.
`;

/** Options without a value that only this tool has. */
const ownFlags = new Set(
  `- -E --expr --eval --eval-only --parse --parse-only --find-file --read-write-mode --raw --xml --json
  --no-location --strict --dry-run --indirect --repair`.split(/\s+/),
);

/** `nix-instantiate`. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  const flags = new EvalFlags();
  const own: string[] = [];
  const files: string[] = [];
  let show: 'help' | 'version' | undefined;
  const common = parseArguments(argv, (arg, next) => {
    if (arg === '--help' || arg === '--version') show = arg.slice(2) as 'help' | 'version';
    else if (ownFlags.has(arg)) own.push(arg);
    else if (arg === '--attr' || arg === '-A' || arg === '--add-root') own.push(arg, next());
    else if (!flags.take(arg, next)) {
      if (arg.startsWith('-')) return false;
      files.push(arg);
    }
    return true;
  });
  if (show === 'version') {
    const { printVersion } = await import('./version.js');
    return printVersion(context, common.verbosity);
  }
  if (show === 'help') {
    print(help);
    return 0;
  }
  const settings = [...common.settings];
  // What is evaluated goes to the store for that, if there is one.
  if (flags.evalStore !== undefined)
    settings.push({ name: 'store', value: flags.evalStore, origin: 'command line' });
  const args = [...flags.args, ...own, ...(common.readOnly ? ['--dry-run'] : []), ...files];
  const gcWarning = common.gcWarning && common.verbosity >= LEVEL.warning;
  const evaluate = (assignments: readonly Assignment[]): Promise<number> => {
    const machine = describeMachine(context.environment, assignments);
    const request = parseInstantiateArguments(args, machine.surroundings);
    return runOnMachine({ ...request, gcWarning, ...structuredLog(common) }, machine);
  };
  if (!isCache(loadSettings(context.environment, settings).get('store'))) return evaluate(settings);
  const { instantiateIntoCache } = await import('./instantiate-into-cache.js');
  return instantiateIntoCache({ common: { ...common, settings }, context, evaluate });
}

function isCache(store: string): boolean {
  return /^(file|https?|s3):\/\//.test(store);
}
