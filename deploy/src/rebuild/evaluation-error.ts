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
  const body = showTrace ? whole : shorten(whole);
  return new LarderError('evaluation-failed', `the configuration cannot be evaluated\n${indent(body)}`);
}

/**
 * Up to Nix 2.13 the message comes first and the trace after it, the innermost first. Since then `error:` stands
 * alone, the trace follows from the outside in, and the message, `error: …` again, comes last.
 */
function shorten(text: string): string {
  const lines = text.split('\n');
  const last = lines.findLastIndex((line) => /^\s+error:( |$)/.test(line));
  const messageLast = lines[0]!.trim() === 'error:' && last > 0;
  const contexts = optionContexts(messageLast ? lines.slice(0, last).reverse() : lines);
  return [...(messageLast ? unindent(lines.slice(last)) : firstPart(lines)), ...contexts].join('\n');
}

/** Up to the trace: the message, its position and the source around it. */
function firstPart(lines: readonly string[]): string[] {
  const trace = lines.findIndex((line) => /^\s*… /.test(line));
  return (trace < 0 ? lines : lines.slice(0, trace)).join('\n').trimEnd().split('\n');
}

/** The innermost of the options that were being evaluated. */
function optionContexts(innermostFirst: readonly string[]): string[] {
  const about = innermostFirst
    .map((line) => /^\s*… (while evaluating (?:the option|definitions from) .*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  return [...new Set(about)].slice(0, INNERMOST_OPTIONS).map((line) => `… ${line}`);
}

function unindent(lines: readonly string[]): string[] {
  const depth = /^\s*/.exec(lines[0] ?? '')![0].length;
  return lines.map((line) => line.replace(new RegExp(`^\\s{0,${depth}}`), ''));
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}
