import type { CommandSurroundings } from './instantiate-arguments.js';
import { parseInstantiateArguments } from './instantiate-arguments.js';
import type { EvaluationRequest } from './instantiate-request.js';

/** What `larder eval` and `larder repl` take. */
export interface EvalOptions {
  readonly expr?: string | undefined;
  readonly file?: string | undefined;
  readonly attribute?: string | undefined;
  readonly json: boolean;
  readonly raw: boolean;
  readonly include: readonly string[];
  readonly arg: readonly (readonly [name: string, expression: string])[];
  readonly argstr: readonly (readonly [name: string, text: string])[];
  readonly option: readonly (readonly [name: string, value: string])[];
  readonly showTrace: boolean;
  readonly readWrite: boolean;
}

function commonArguments(options: EvalOptions): string[] {
  return [
    ...options.include.flatMap((entry) => ['-I', entry]),
    ...options.arg.flatMap(([name, value]) => ['--arg', name, value]),
    ...options.argstr.flatMap(([name, value]) => ['--argstr', name, value]),
    ...options.option.flatMap(([name, value]) => ['--option', name, value]),
    ...(options.showTrace ? ['--show-trace'] : []),
    ...(options.readWrite ? ['--read-write-mode'] : []),
  ];
}

/** A file with an attribute path after `#`, as people write it: `./default.nix#hello.name`. */
export function splitInstallable(text: string): { file: string; attribute: string | undefined } {
  const hash = text.indexOf('#');
  if (hash < 0) return { file: text, attribute: undefined };
  return { file: text.slice(0, hash) || '.', attribute: text.slice(hash + 1) };
}

/** The request of `larder eval`: a value, printed for a person unless JSON or plain text is asked for. */
export function makeEvalRequest(options: EvalOptions, surroundings: CommandSurroundings): EvaluationRequest {
  const source = options.expr === undefined ? [options.file ?? '.'] : ['-E', options.expr];
  const attribute = options.attribute === undefined ? [] : ['-A', options.attribute];
  const args = ['--eval', ...commonArguments(options), ...attribute, ...source];
  const request = parseInstantiateArguments(args, surroundings);
  const format = options.json ? 'json' : options.raw ? 'raw' : 'pretty';
  return { ...request, goal: { kind: 'print', format, strict: true, location: false } };
}

/** The request of `larder repl`: files whose attributes are in scope from the start. */
export function makeReplRequest(
  files: readonly string[],
  options: EvalOptions,
  surroundings: CommandSurroundings,
): EvaluationRequest {
  const request = parseInstantiateArguments(
    ['--eval', ...commonArguments(options), '-E', 'null'],
    surroundings,
  );
  return {
    ...request,
    goal: { kind: 'repl' },
    sources: files.map((path) => ({ kind: 'file', path })),
    readOnly: !options.readWrite,
  };
}
