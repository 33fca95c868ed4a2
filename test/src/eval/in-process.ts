import { forceDeep } from '@larder/builder/eval/builtins/control';
import { fromByteText, toByteText } from '@larder/builder/eval/byte-text';
import { NixError } from '@larder/builder/eval/errors';
import { Evaluator } from '@larder/builder/eval/evaluator';
import { formatNixError } from '@larder/builder/eval/format-error';
import { printPlain } from '@larder/builder/eval/print-value';
import { parseSearchPathEntry } from '@larder/builder/eval/search-path-entry';
import { LocalHost } from '@larder/builder/eval-host';
import { EvalStore } from '@larder/builder/eval-store';
import { restrictHost } from '@larder/builder/evaluation';
import { FileAccess } from '@larder/builder/file-access';
import { applySetting, defaultSettings } from '@larder/builder/language-settings';
import { StoreDir } from '@larder/signing/store-path';

/** What an evaluation in a test may set. */
export interface InProcessOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly searchPath?: readonly string[];
  readonly workingDirectory?: string;
  readonly storeDir?: string;
}

const nothing = (): never => {
  throw new Error('a test that evaluates in process has no store');
};

/** An evaluator in this very thread, over an empty store that nothing is written to. */
export function makeEvaluator(options: InProcessOptions = {}): Evaluator {
  const settings = defaultSettings();
  for (const [name, value] of Object.entries(options.settings ?? {})) applySetting(settings, name, value);
  const store = new EvalStore(new StoreDir(options.storeDir ?? '/nix/store'), {
    isValidPath: () => false,
    queryReferences: nothing,
    realPath: nothing,
    addText: nothing,
    addTree: nothing,
    ensurePath: nothing,
    realise: nothing,
    flush: () => undefined,
  });
  const surroundings = {
    environment: {},
    home: '/homeless',
    workingDirectory: options.workingDirectory ?? '/',
  };
  const fetcher = { fetchUrl: nothing, fetchTree: nothing, fetchClosure: nothing };
  const host = new LocalHost({ files: new FileAccess(), store, fetcher, surroundings });
  const evaluator = new Evaluator({
    host,
    settings: {
      ...settings,
      experimentalFeatures: new Set(settings.experimentalFeatures),
      readOnly: true,
    },
    searchPath: (options.searchPath ?? []).map(parseSearchPathEntry),
  });
  restrictHost(host, evaluator, settings);
  return evaluator;
}

/** The value of an expression as `--eval --strict` prints it. */
export function evaluate(expression: string, options: InProcessOptions = {}): string {
  const evaluator = makeEvaluator(options);
  const directory = options.workingDirectory ?? '/';
  return fromByteText(printPlain(forceDeep(evaluator.evaluateText(toByteText(expression), directory))));
}

/** What a user sees of a program that fails; throws if it does not. */
export function evaluateError(expression: string, options: InProcessOptions = {}): string {
  try {
    evaluate(expression, options);
  } catch (error) {
    if (!(error instanceof NixError)) throw error;
    return fromByteText(formatNixError(error, options.settings?.['show-trace'] === 'true'));
  }
  throw new Error(`this should have failed: ${expression}`);
}
