import { LarderError } from '@larder/signing/errors';
import type { Command as CommandType } from 'commander';
import { Command } from './commander.js';

export interface CommandText {
  readonly summary: string;
  /** Command lines that work as written, each with what it does. */
  readonly examples: readonly (readonly [commandLine: string, does: string])[];
}

/** A command in the house's manner: it throws instead of exiting, and its help ends in examples. */
export function createVerb(name: string, { summary, examples }: CommandText): CommandType {
  const command = new Command(name)
    .description(summary)
    .exitOverride()
    .showHelpAfterError('(--help shows how to use it)');
  const lines = examples.map(([commandLine, does]) => `  # ${does}\n  $ ${commandLine}`);
  return command.addHelpText(
    'after',
    `\n${examples.length === 1 ? 'Example' : 'Examples'}:\n${lines.join('\n\n')}\n`,
  );
}

/** A mistake in how a verb was called: exit status 2. */
export function usageError(message: string): LarderError<'usage'> {
  return new LarderError('usage', message);
}

/** Collects an option that may be given several times; each may list several values between spaces. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, ...value.split(/\s+/).filter((each) => each !== '')];
}
