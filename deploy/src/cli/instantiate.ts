import { parseInstantiateArguments } from '@larder/builder/instantiate-arguments';
import type { Command } from 'commander';
import { describeMachine } from '../evaluation-machine.js';
import { createVerb } from './command.js';
import { runOnMachine } from './evaluation-session.js';

/** `larder instantiate`: the command line of `nix-instantiate`, read by its own rules. */
export function createCommand(): Command {
  return createVerb('instantiate', {
    summary:
      'Evaluate Nix expressions and write their derivations to the store, or print their values. ' +
      'Takes the options of nix-instantiate: -E, -A, --arg, --argstr, -I, --eval, --strict, --json, --xml, --raw, ' +
      '--parse, --find-file, --read-write-mode, --add-root, --show-trace, --option NAME VALUE; and for the lock file of the ' +
      'flake that builtins.getFlake gives: --lock-flake write|keep|refuse, --recreate-lock-file, --update-input INPUT, ' +
      '--override-input INPUT REFERENCE, --commit-lock-file.',
    examples: [
      [
        'larder instantiate ./default.nix -A hello',
        'write the derivation of an attribute; its path is printed',
      ],
      ["larder instantiate --eval --strict -E 'map (x: x * x) [ 1 2 3 ]'", 'print a value'],
    ],
  })
    .usage('[OPTION…] [FILE…]')
    .argument('[arguments...]', 'files, or expressions with -E')
    .allowUnknownOption()
    .action(async (_: string[], __: object, command: Command) => {
      const machine = describeMachine();
      const request = parseInstantiateArguments(command.args, machine.surroundings);
      process.exitCode = await runOnMachine(request, machine);
    });
}
