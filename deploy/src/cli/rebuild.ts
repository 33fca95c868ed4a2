import { LarderError } from '@larder/signing/errors';
import { type Command, Option } from 'commander';
import { MachineRoot } from '../activate/machine-root.js';
import type { RebuildContext, RebuildRequest } from '../rebuild/rebuild.js';
import { createVerb, usageError } from './command.js';

const actions = [
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
] as const;
type Action = (typeof actions)[number];

interface RebuildOptions {
  readonly include?: readonly string[];
  readonly file?: string;
  readonly attr?: string;
  readonly flake?: string;
  readonly profileName?: string;
  readonly rollback?: true;
  readonly to?: number;
  readonly root: string;
  readonly evaluator: 'nix';
  readonly option?: readonly string[];
  readonly showTrace?: true;
  readonly specialisation?: string;
  readonly outLink: string | false;
  readonly bootMenu: 'auto' | 'always' | 'never';
  readonly installBootloader?: true;
  readonly json?: true;
}

export function createCommand(): Command {
  return createVerb('rebuild', {
    summary: [
      'Make the machine what its configuration says, atomically, and go back.',
      '',
      '  switch            make a new generation, the default of the next start, and activate it',
      '  boot              the same without activating it',
      '  test              activate it without making it the default',
      '  build             only build it, print its path and link it as ./result',
      '  dry-build         say what would be fetched and built',
      '  dry-activate      build it and say what activating it would start and stop',
      '  build-vm          build a script that boots it in QEMU',
      '  rollback          go to the generation before, or --to N',
      '  list-generations  the generations there are',
      '  diff [A [B]]      what differs between generations: by default the current one and the one before',
    ].join('\n'),
    examples: [
      ['larder rebuild switch', 'build <nixpkgs/nixos> with <nixos-config> and switch to it'],
      [
        'larder rebuild build -I nixpkgs=./deploy/example -I nixos-config=./configuration.nix',
        'the example system',
      ],
      ['larder rebuild switch --rollback', 'go back, as does: larder rebuild rollback'],
    ],
  })
    .argument('[action]', 'one of the above')
    .argument('[generations...]', 'for diff')
    .option('-I, --include <path>', 'add to the search path: NAME=PATH or PATH; repeatable', append)
    .option('-f, --file <file>', 'evaluate this file instead of <nixpkgs/nixos>')
    .option(
      '-A, --attr <attribute>',
      "the configuration's attribute in the file (default.nix without --file)",
    )
    .option('--flake <flake>', 'evaluate nixosConfigurations.HOST of a flake: REFERENCE[#HOST]')
    .option('-p, --profile-name <name>', 'a system profile of this name, with a boot menu of its own')
    .option('--rollback', 'do it with the generation before, evaluating nothing')
    .option('--to <generation>', 'with a rollback: this generation', number)
    .option('--root <directory>', 'work on the machine whose file system is there', '/')
    .addOption(
      new Option('--evaluator <engine>', 'what evaluates and realises').choices(['nix']).default('nix'),
    )
    .option('--option <name value...>', 'set a setting of nix.conf: NAME VALUE, or NAME=VALUE; repeatable')
    .option('-c, --specialisation <name>', 'activate this specialisation of the system')
    .option('-o, --out-link <path>', 'with build and build-vm: the link to make', 'result')
    .option('--no-out-link', 'with build and build-vm: make none')
    .addOption(
      new Option('--boot-menu <when>', 'write the boot menu: auto is for systems without an own installer')
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .option('--install-bootloader', "have the system's own installer install the boot loader too")
    .option('--show-trace', "show the evaluator's whole trace of an error")
    .option('--fast', 'accepted as nixos-rebuild does; it is always fast')
    .option('--json', 'with list-generations and diff: print JSON')
    .action(async (first: string | undefined, rest: string[], options: RebuildOptions) => {
      const { settings, strays } = splitSettings(options.option ?? []);
      const [action, ...others] = [...strays, ...(first === undefined ? [] : [first]), ...rest];
      await run(parseAction(action), { others, settings, options });
    });
}

interface Call {
  readonly others: readonly string[];
  readonly settings: readonly (readonly [string, string])[];
  readonly options: RebuildOptions;
}

function append(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

function number(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw usageError(`'${text}' is not the number of a generation`);
  return Number(text);
}

function parseAction(text: string | undefined): Action {
  const action = actions.find((each) => each === text);
  if (action !== undefined) return action;
  throw usageError(
    text === undefined
      ? `say what to do: one of ${actions.join(', ')}`
      : `'${text}' is none of ${actions.join(', ')}`,
  );
}

/**
 * `--option NAME VALUE`, as Nix's programs take it. Commander gives all words up to the next dash, so an action
 * may be among them.
 */
function splitSettings(words: readonly string[]): {
  readonly settings: [string, string][];
  readonly strays: string[];
} {
  const settings: [string, string][] = [];
  const strays: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const equals = word.indexOf('=');
    if (strays.length > 0 || actions.some((action) => action === word)) strays.push(word);
    else if (equals > 0) settings.push([word.slice(0, equals).trim(), word.slice(equals + 1).trim()]);
    else if (at + 1 === words.length) throw usageError(`--option ${word} needs a value`);
    else settings.push([word, words[++at]!]);
  }
  return { settings, strays };
}

async function run(action: Action, call: Call): Promise<void> {
  const { others, options } = call;
  if (action !== 'diff' && others.length > 0)
    throw usageError(`'${others[0]}' after '${action}': not expected`);
  const root = new MachineRoot(options.root);
  switch (action) {
    case 'list-generations':
      return printGenerations(root, options);
    case 'rollback':
      return goBack(root, 'switch', options);
    case 'diff':
      return printDifference(root, call);
    case 'dry-build':
    case 'build-vm':
      if (options.rollback) throw usageError(`--rollback does not go with ${action}`);
      return rebuild(root, action, call);
    case 'switch':
    case 'boot':
    case 'test':
    case 'build':
    case 'dry-activate':
      return options.rollback ? goBack(root, action, options) : rebuild(root, action, call);
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
  options: RebuildOptions,
): Promise<void> {
  const { findRollback, rollBack } = await import('../rebuild/rollback.js');
  const { runSwitch } = await import('../activate/switch-system.js');
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
  await runSwitch(root, { system: target, action });
}

async function printDifference(root: MachineRoot, call: Call): Promise<void> {
  const { findGenerations } = await import('../rebuild/generation-choice.js');
  const { diffClosures } = await import('../rebuild/closure-diff.js');
  const { formatDiff } = await import('../rebuild/summary.js');
  const [before, after] = await findGenerations(root, call.others, call.options.profileName);
  const { realiser } = await openContext(root, call);
  try {
    const diff = diffClosures(
      await realiser.queryClosure(before.target),
      await realiser.queryClosure(after.target),
    );
    if (call.options.json) process.stdout.write(`${JSON.stringify(diff, null, 2)}\n`);
    else
      process.stdout.write(`Generation ${before.number} → generation ${after.number}\n${formatDiff(diff)}\n`);
  } finally {
    await realiser.close();
  }
}

async function rebuild(
  root: MachineRoot,
  action: Exclude<Action, 'rollback' | 'list-generations' | 'diff'>,
  call: Call,
): Promise<void> {
  const steps = await import('../rebuild/rebuild.js');
  const context = await openContext(root, call);
  try {
    const request = toRequest(call.options);
    if (action === 'dry-build') return await steps.planSystem(context, request);
    const product = action === 'build-vm' ? 'vm' : 'toplevel';
    const { path } = await steps.realiseSystem(context, request, product);
    if (action === 'build' || action === 'build-vm') {
      const { outLink } = call.options;
      if (outLink !== false) await steps.linkResult(context, outLink, path);
      process.stdout.write(`${action === 'build' ? path : await vmScript(root, path)}\n`);
    } else if (action === 'dry-activate') {
      await steps.switchTo(context, request, { system: path, action });
    } else {
      await steps.activateSystem(context, request, { system: path, action });
    }
  } finally {
    await context.realiser.close();
  }
}

/** The script in a virtual machine's package, as this machine finds it. */
async function vmScript(root: MachineRoot, path: string): Promise<string> {
  const { readdir } = await import('node:fs/promises');
  const script = (await readdir(root.physical(`${path}/bin`))).find((name) => /^run-.*-vm$/.test(name));
  if (script === undefined) throw new LarderError('vm-malformed', `${path}/bin has no run-…-vm`);
  return root.physical(`${path}/bin/${script}`);
}

function toRequest(options: RebuildOptions): RebuildRequest {
  return {
    choice: { file: options.file, attribute: options.attr, flake: options.flake },
    evaluation: { searchPath: options.include ?? [], showTrace: options.showTrace ?? false },
    profileName: options.profileName,
    bootMenu: options.bootMenu,
    installBootLoader: options.installBootloader,
    specialisation: options.specialisation,
  };
}

async function openContext(root: MachineRoot, { settings, options }: Call): Promise<RebuildContext> {
  const { openEngines } = await import('../rebuild/engines.js');
  const flakes: [string, string][] =
    options.flake === undefined ? [] : [['experimental-features', 'nix-command flakes']];
  const { evaluator, realiser } = await openEngines({ root, settings: [...flakes, ...settings] });
  return { root, evaluator, realiser, report };
}
