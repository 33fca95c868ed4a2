import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { parseArguments } from './arguments.js';
import { EvalFlags, structuredLog } from './eval-flags.js';
import { notSupported, print, printLines } from './messages.js';
import { planTargets, realiseTargets, showPlan } from './realise.js';
import { addRoot } from './roots.js';
import { ToolSession } from './session.js';
import { readStoreDerivation } from './store-derivation.js';
import type { ToolContext } from './tool-context.js';

const help = `Usage: nix-build [OPTION…] [FILE or DERIVATION…]

Realises what Nix expressions give, prints the outputs and links ./result to them: as Nix's own nix-build does.

  FILE…, -E EXPRESSION…, -         what to evaluate; ./default.nix without any
  ….drv, ….drv!OUTPUT              derivations to realise as they are
  -A, --attr PATH                  an attribute of it; repeatable
  --arg NAME EXPRESSION, --argstr NAME TEXT, -I PATH
  -o, --out-link LINK; --no-out-link
  --dry-run                        say what would be built and fetched
  --check                          build again what is there, and compare
  --repair                         put right what is damaged of the outputs and all they need
  -j, --max-jobs N; --cores N; -k, --keep-going; -K, --keep-failed; -Q, --no-build-output
  --timeout S; --max-silent-time S; --fallback

All settings of nix.conf are options, and --option NAME VALUE sets any; -v says more, --quiet less.
`;

interface BuildRequest {
  outLink: string | undefined;
  dryRun: boolean;
  mode: 'build' | 'check' | 'repair';
  fromText: boolean;
  standardInput: boolean;
  show: 'help' | 'version' | undefined;
  readonly attrPaths: string[];
  readonly left: string[];
}

/** `nix-build`. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  const flags = new EvalFlags();
  const request: BuildRequest = {
    outLink: './result',
    dryRun: false,
    mode: 'build',
    fromText: false,
    standardInput: false,
    show: undefined,
    attrPaths: [],
    left: [],
  };
  const common = parseArguments(
    argv,
    (arg, next) => takeOption(request, arg, next) || flags.take(arg, next) || takeArgument(request, arg),
  );
  if (request.show === 'version') {
    const { printVersion } = await import('./version.js');
    return printVersion(context, common.verbosity);
  }
  if (request.show === 'help') {
    print(help);
    return 0;
  }
  if (flags.evalStore !== undefined)
    throw notSupported("'nix-build --eval-store'", 'use --store, or an installed Nix');
  await using session = new ToolSession(common, context.environment);
  return await build(session, request, { flags: flags.args, environment: context.environment });
}

function takeArgument(request: BuildRequest, arg: string): boolean {
  if (arg.startsWith('-')) return false;
  request.left.push(arg);
  return true;
}

function takeOption(request: BuildRequest, arg: string, next: () => string): boolean {
  switch (arg) {
    case '--help':
    case '--version':
      request.show = arg.slice(2) as 'help' | 'version';
      return true;
    case '--add-drv-link':
    case '--indirect':
      return true;
    case '--drv-link':
    case '--add-root':
    case '--exclude':
      next();
      return true;
    case '--no-out-link':
    case '--no-link':
      request.outLink = undefined;
      return true;
    case '--out-link':
    case '-o':
      request.outLink = next();
      return true;
    case '--attr':
    case '-A':
      request.attrPaths.push(next());
      return true;
    case '--dry-run':
      request.dryRun = true;
      return true;
    case '--check':
    case '--repair':
      request.mode = arg.slice(2) as 'check' | 'repair';
      return true;
    case '--expr':
    case '-E':
      request.fromText = true;
      return true;
    case '-':
      request.standardInput = true;
      return true;
    case '--run-env':
      throw notSupported("'nix-build --run-env'", "use an installed Nix's nix-shell");
    default:
      return false;
  }
}

interface Evaluation {
  /** Options for the evaluator. */
  readonly flags: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
}

/** One output of a derivation. */
interface Wanted {
  readonly path: StorePath;
  readonly output: string;
}

async function build(session: ToolSession, request: BuildRequest, evaluation: Evaluation): Promise<number> {
  const store = await session.store();
  const wanted: Wanted[] = [];
  const files: string[] = [];
  for (const text of request.left) {
    const derivation =
      request.fromText || request.standardInput ? undefined : findDerivation(text, store.storeDir.path);
    if (derivation === undefined) files.push(text);
    else wanted.push(await chooseOutput(session, derivation));
  }
  const nothing = request.left.length === 0 && !request.fromText;
  if (request.standardInput || files.length > 0 || nothing) {
    const found = await evaluate(
      session,
      { ...request, left: request.standardInput ? [] : files },
      evaluation,
    );
    if (found === undefined) return 1;
    wanted.push(...found);
  }
  const targets = wanted.map(({ path, output }): Target => ({ type: 'derivation', path, outputs: [output] }));
  if (request.dryRun) {
    showPlan(session, await planTargets(session, targets), store);
    return 0;
  }
  const { status, outputs } = await realiseTargets(session, targets, { mode: request.mode });
  if (status !== 0) return status;
  const paths = wanted.map(({ output }, index) => outputs[index]!.get(output)!);
  if (request.outLink !== undefined) await link(session, { wanted, paths, base: request.outLink });
  printLines(paths.map((path) => store.storeDir.format(path)));
  return 0;
}

/** The derivation that an argument names, through links too, with the output behind `!`; else it is an expression. */
function findDerivation(text: string, storeDir: string): string | undefined {
  let full = resolve(text);
  try {
    full = realpathSync(text);
  } catch {
    // With an output behind it, or of a store elsewhere: as it is written.
  }
  const path = full.replace(/!.*$/, '');
  return path.startsWith(`${storeDir}/`) && path.endsWith('.drv') ? full : undefined;
}

async function chooseOutput(session: ToolSession, text: string): Promise<Wanted> {
  const store = await session.store();
  const [full = '', names] = text.split('!', 2);
  const path = store.storeDir.parse(full);
  const derivation = await readStoreDerivation(store, path);
  const [output = derivation.env.get('outputName') ?? 'out', ...others] = names?.split(',') ?? [];
  if (others.length > 0) {
    throw new LarderError(
      'outputs-several',
      `building more than one derivation output is not supported, in '${text}'`,
    );
  }
  if (!derivation.outputs.has(output))
    throw new LarderError('output-unknown', `derivation '${full}' does not have output '${output}'`);
  return { path, output };
}

/** Evaluates the expressions to derivations; undefined when that failed, and was told. */
async function evaluate(
  session: ToolSession,
  { left, fromText, standardInput, attrPaths, mode }: BuildRequest,
  { flags, environment }: Evaluation,
): Promise<Wanted[] | undefined> {
  const { parseInstantiateArguments } = await import('@larder/builder/instantiate-arguments');
  const { describeMachine } = await import('../../evaluation-machine.js');
  const { runOnMachine } = await import('../evaluation-session.js');
  const machine = describeMachine(environment, session.arguments.settings);
  const args = [
    ...flags,
    ...attrPaths.flatMap((path) => ['-A', path]),
    ...(fromText ? ['-E'] : []),
    ...(standardInput ? ['-'] : []),
    ...(mode === 'repair' ? ['--repair'] : []),
    ...left,
  ];
  const request = parseInstantiateArguments(args, machine.surroundings);
  let output = '';
  const status = await runOnMachine(
    {
      ...request,
      goal: { kind: 'instantiate', captured: true },
      gcWarning: false,
      ...structuredLog(session.arguments),
    },
    machine,
    { onOutput: (text) => (output += text) },
  );
  if (status !== 0) return undefined;
  const { storeDir } = session.layout;
  return output.split('\n').flatMap((line) => {
    if (line === '') return [];
    const [path = '', name = 'out'] = line.split('!', 2);
    return { path: storeDir.parse(path), output: name };
  });
}

interface Links {
  readonly wanted: readonly Wanted[];
  readonly paths: readonly StorePath[];
  readonly base: string;
}

/** Links to the outputs: `result`, `result-2` for the second derivation, `result-dev` for other outputs than `out`. */
async function link(session: ToolSession, { wanted, paths, base }: Links): Promise<void> {
  const store = await session.store();
  const numbers = new Map<StorePath, number>();
  for (const [index, { path, output }] of wanted.entries()) {
    const number = numbers.get(path) ?? numbers.size + 1;
    numbers.set(path, number);
    const numbered = number === 1 ? base : `${base}-${number}`;
    await addRoot(store, output === 'out' ? numbered : `${numbered}-${output}`, paths[index]!);
  }
}
