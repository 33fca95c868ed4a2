import type { EvalOptions } from '@larder/builder/eval-arguments';
import { type Command, Option } from 'commander';
import { usageError } from './command.js';

/** Options that `eval` and `repl` share, as commander gives them. */
export interface EvalVerbOptions {
  readonly attr?: string;
  readonly include?: readonly string[];
  readonly arg?: readonly (readonly [string, string])[];
  readonly argstr?: readonly (readonly [string, string])[];
  readonly option?: readonly (readonly [string, string])[];
  readonly showTrace?: boolean;
  readonly readWriteMode?: boolean;
}

const gather = (value: string, previous: readonly string[] = []): string[] => [...previous, value];

function pair(text: string, previous: readonly (readonly [string, string])[] = []): [string, string][] {
  const equals = text.indexOf('=');
  if (equals < 1) throw usageError(`expected NAME=VALUE, not '${text}'`);
  return [
    ...previous.map(([a, b]) => [a, b] as [string, string]),
    [text.slice(0, equals), text.slice(equals + 1)],
  ];
}

/** Adds the options of evaluation to a verb. */
export function addEvalOptions(command: Command): Command {
  return command
    .option('-A, --attr <path>', 'an attribute of what is evaluated')
    .option('-I, --include <path>', 'add to the search path; repeatable', gather)
    .addOption(new Option('--arg <name=expression>', 'an argument for functions; repeatable').argParser(pair))
    .addOption(new Option('--argstr <name=text>', 'the same, of text; repeatable').argParser(pair))
    .addOption(new Option('--option <name=value>', 'set a setting of nix.conf; repeatable').argParser(pair))
    .option('--show-trace', 'show the whole trace of an error')
    .option('--read-write-mode', 'write what is evaluated to the store');
}

/** The same for the builder. */
export function readEvalOptions(options: EvalVerbOptions): EvalOptions {
  return {
    json: false,
    raw: false,
    include: options.include ?? [],
    arg: options.arg ?? [],
    argstr: options.argstr ?? [],
    option: options.option ?? [],
    showTrace: options.showTrace ?? false,
    readWrite: options.readWriteMode ?? false,
  };
}
