import { LarderError } from '@larder/signing/errors';

const INNERMOST_OPTIONS = 4;

/**
 * An evaluator's error for the one who wrote the configuration: the error itself, and which options it was
 * evaluating (the module systems say so in the trace), instead of the evaluator's whole way there.
 * @param text standard error of an evaluation with `--show-trace`
 */
export function evaluationError(text: string, { showTrace }: { readonly showTrace: boolean }): LarderError {
  const start = text.search(/^error:/m);
  const whole = (start < 0 ? text : text.slice(start)).trim();
  const body = showTrace ? whole : [firstPart(whole), ...optionContext(whole)].join('\n');
  return new LarderError('evaluation-failed', `the configuration cannot be evaluated\n${indent(body)}`);
}

/** Up to the trace: the message, its position and the source around it. */
function firstPart(text: string): string {
  const lines = text.split('\n');
  const trace = lines.findIndex((line) => /^\s*… /.test(line));
  return (trace < 0 ? lines : lines.slice(0, trace)).join('\n').trimEnd();
}

function optionContext(text: string): string[] {
  const about = text
    .split('\n')
    .map((line) => /^\s*… (while evaluating (?:the option|definitions from) .*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  return [...new Set(about)].slice(0, INNERMOST_OPTIONS).map((line) => `… ${line}`);
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}
