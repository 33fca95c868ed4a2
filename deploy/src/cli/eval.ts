import { makeEvalRequest, splitInstallable } from '@larder/builder/eval-arguments';
import type { Command } from 'commander';
import { describeMachine } from '../evaluation-machine.js';
import { createVerb, usageError } from './command.js';
import { addEvalOptions, type EvalVerbOptions, readEvalOptions } from './eval-options.js';
import { runOnMachine } from './evaluation-session.js';

interface Options extends EvalVerbOptions {
  readonly expr?: string;
  readonly json?: boolean;
  readonly raw?: boolean;
}

/** `larder eval`: prints a value for a person. */
export function createCommand(): Command {
  const command = createVerb('eval', {
    summary: 'Evaluate a Nix expression and show its value.',
    examples: [
      ["larder eval --expr 'builtins.attrNames { a = 1; b = 2; }'", 'the value of an expression'],
      ['larder eval ./default.nix#hello.name --raw', 'a string attribute of a file, as it is'],
      ['larder eval . --json', 'the value of ./default.nix as JSON'],
    ],
  })
    .argument('[file]', "a file or directory, with an attribute path after '#' if wanted")
    .option('-e, --expr <expression>', 'evaluate this instead of a file')
    .option('--json', 'print JSON')
    .option('--raw', 'print a string without quotes or a line end');
  return addEvalOptions(command).action(async (file: string | undefined, options: Options) => {
    if (file !== undefined && options.expr !== undefined) {
      throw usageError('give a file or --expr, not both');
    }
    if (options.json === true && options.raw === true) throw usageError('give --json or --raw, not both');
    const machine = describeMachine();
    const installable = file === undefined ? undefined : splitInstallable(file);
    const request = makeEvalRequest(
      {
        ...readEvalOptions(options),
        expr: options.expr,
        file: installable?.file,
        attribute: installable?.attribute ?? options.attr,
        json: options.json ?? false,
        raw: options.raw ?? false,
      },
      machine.surroundings,
    );
    process.exitCode = await runOnMachine(request, machine);
  });
}
