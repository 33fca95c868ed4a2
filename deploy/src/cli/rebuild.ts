import type { Command } from 'commander';
import { engineNames } from '../rebuild/engine-name.js';
import { createVerb, usageError } from './command.js';
import { Option } from './commander.js';
import { type Action, actions, runRebuild } from './rebuild-actions.js';
import type { RebuildCall, RebuildOptions } from './rebuild-options.js';

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
      '  pin               keep all of them in a cache, as --pin does after a switch',
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
    .option('--no-write-lock-file', "do not write the flake's lock file where it lacks an input")
    .option('--no-update-lock-file', 'fail where it lacks one')
    .option('--recreate-lock-file', 'make the lock file anew: all inputs as they are now')
    .option(
      '--update-input <input>',
      'take this input (NAME, or A/B of input A) as it is now; repeatable',
      append,
    )
    .option(
      '--override-input <input reference...>',
      'take this input from elsewhere, this time: INPUT REFERENCE; no lock file is written; repeatable',
    )
    .option('--commit-lock-file', 'commit the lock file in its git repository, where it is written')
    .option('--store-path <path>', 'take this system, which is in the store, instead of evaluating anything')
    .option('-p, --profile-name <name>', 'a system profile of this name, with a boot menu of its own')
    .option('--rollback', 'do it with the generation before, evaluating nothing')
    .option('--to <generation>', 'with a rollback: this generation', number)
    .option(
      '--target-host <host>',
      'copy it to this machine, by ssh, and activate it there: [USER@]HOST[:PORT]',
    )
    .option('--build-host <host>', 'have this machine build it, and copy the result back')
    .option('--sudo, --use-remote-sudo', 'become root by sudo on the target')
    .option('-s, --use-substitutes', 'let other machines fetch from their own caches what these have')
    .option('--root <directory>', 'work on the machine whose file system is there', '/')
    .addOption(
      new Option('--evaluator <engine>', 'what evaluates: Larder, or an installed Nix')
        .choices(engineNames)
        .default('larder'),
    )
    .addOption(
      new Option('--realiser <engine>', 'what fetches and builds: Larder, or an installed Nix')
        .choices(engineNames)
        .default('larder'),
    )
    .option('--option <name value...>', 'set a setting of nix.conf: NAME VALUE, or NAME=VALUE; repeatable')
    .option('-j, --max-jobs <number>', 'builds at a time')
    .option('--cores <number>', 'cores a build may use')
    .option('-k, --keep-going', 'build what can be built after a failure')
    .option('-c, --specialisation <name>', 'activate this specialisation of the system')
    .option('-o, --out-link <path>', 'with build and build-vm: the link to make', 'result')
    .option('--no-out-link', 'with build and build-vm: make none')
    .addOption(
      new Option('--boot-menu <when>', 'write the boot menu: auto is for systems without an own installer')
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .option('--install-bootloader', "have the system's own installer install the boot loader too")
    .option(
      '--hook <program>',
      'run this after a switch, with the current system and the one to go back to: to pin them in a cache, say',
    )
    .option(
      '--pin <cache>',
      'after a switch, keep what this machine can boot in this cache: by its URL, or its name (LARDER_PIN_CACHE)',
    )
    .option('--no-pin', 'do not, whatever the environment or rebuild.toml say')
    .option('--pin-name <name>', 'what the machine is called there (LARDER_PIN_NAME, or its host name)')
    .option(
      '--token-file <file>',
      "a file with a token that may push and delete there (LARDER_TOKEN_FILE, or the netrc file's)",
    )
    .option('--show-trace', "show the evaluator's whole trace of an error")
    .option('--fast', 'accepted as nixos-rebuild does; it is always fast')
    .option('--json', 'with list-generations and diff: print JSON')
    .action(async (first: string | undefined, rest: string[], options: RebuildOptions) => {
      const settings = splitPairs('--option', options.option);
      const overrides = splitPairs('--override-input', options.overrideInput);
      const words = first === undefined ? rest : [first, ...rest];
      const [action, ...others] = [...settings.strays, ...overrides.strays, ...words];
      const call: RebuildCall = {
        others,
        settings: [...settings.pairs, ...namedSettings(options)],
        overrides: overrides.pairs,
        options,
      };
      await runRebuild(parseAction(action), call);
    });
}

/** The options that are short for settings. */
function namedSettings({ maxJobs, cores, keepGoing }: RebuildOptions): [string, string][] {
  return [
    ...(maxJobs === undefined ? [] : [['max-jobs', maxJobs] satisfies [string, string]]),
    ...(cores === undefined ? [] : [['cores', cores] satisfies [string, string]]),
    ...(keepGoing ? [['keep-going', 'true'] satisfies [string, string]] : []),
  ];
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
 * `--option NAME VALUE`, as Nix's programs take it, or `NAME=VALUE`. Commander gives all words up to the next dash, of each
 * time that the option is there, so an action and the numbers of generations may be among them.
 */
function splitPairs(
  option: string,
  words: readonly string[] = [],
): { readonly pairs: [string, string][]; readonly strays: string[] } {
  const pairs: [string, string][] = [];
  const strays: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const equals = word.indexOf('=');
    const isStray = /^\d+$/.test(word) || actions.some((action) => action === word);
    if (at > 0 && isStray) strays.push(word);
    else if (equals > 0) pairs.push([word.slice(0, equals).trim(), word.slice(equals + 1).trim()]);
    else if (at + 1 === words.length) throw usageError(`${option} ${word} needs a value`);
    else pairs.push([word, words[++at]!]);
  }
  return { pairs, strays };
}
