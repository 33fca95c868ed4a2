import { StoreDir } from '@larder/signing/store-path';
import type { Expr } from './eval/ast.js';
import { findAlongAttrPath } from './eval/attr-path.js';
import { type Attrs, AttrsBuilder } from './eval/attrs.js';
import { autoCall } from './eval/auto-call.js';
import { forceDeep } from './eval/builtins/control.js';
import { fromByteText, toByteText } from './eval/byte-text.js';
import { delayed } from './eval/call.js';
import { coerceToString } from './eval/coerce.js';
import { ContextCollector } from './eval/context.js';
import { findDerivations } from './eval/derivations.js';
import { NixError } from './eval/errors.js';
import { Evaluator } from './eval/evaluator.js';
import { formatNixError } from './eval/format-error.js';
import { valueToJson } from './eval/json.js';
import { canonicalPath } from './eval/parser.js';
import { printPlain, printValue } from './eval/print-value.js';
import { Repl } from './eval/repl.js';
import { findFile } from './eval/search-path.js';
import { showExpr } from './eval/show-expr.js';
import { intern } from './eval/symbols.js';
import { force, type Slot } from './eval/values.js';
import { valueToXml } from './eval/xml.js';
import { type EvalFetcher, LocalHost, writeBytes, writeMessage } from './eval-host.js';
import { EvalStore, type StoreBackend } from './eval-store.js';
import { FileAccess } from './file-access.js';
import type { EvaluationRequest, ExpressionSource } from './instantiate-request.js';
import { type EvaluationRecord, ReadRecorder } from './read-recorder.js';

/** What the prompt asks of an evaluation. */
export interface ReplQuestion {
  readonly kind: 'line' | 'complete';
  readonly line: string;
}

/** What a word can become. */
export interface ReplCompletion {
  readonly candidates: readonly string[];
  readonly word: string;
}

/** What an evaluation needs besides its request. */
export interface EvaluationParts {
  readonly backend: StoreBackend;
  readonly fetcher: EvalFetcher;
  /** Waits until everything written so far is in the store. */
  readonly flush: () => void;
  /** The next line of a conversation, or a wish to complete one; undefined at its end. */
  readonly ask: (fresh: boolean) => ReplQuestion | undefined;
  /** Answers a wish to complete a line. */
  readonly tell: (completion: ReplCompletion) => void;
  /** Makes a garbage collector root; gives the path to print. */
  readonly addRoot: (link: string, storePath: string) => string;
}

const gcWarning =
  "warning: you did not specify '--add-root'; the result might be removed by the garbage collector";

/** A restricted evaluation reads the search path, and nothing else of this machine; a pure one not even that. */
export function restrictHost(
  host: LocalHost,
  evaluator: Evaluator,
  { pureEval, restrictEval }: Pick<EvaluationRequest['settings'], 'pureEval' | 'restrictEval'>,
): void {
  if (!pureEval && !restrictEval) return;
  const directory = host.workingDirectory();
  const roots = pureEval ? [] : evaluator.searchPath.map(({ path }) => canonicalPath(path, directory));
  host.restrict(
    roots.flatMap((root) => [root, host.resolveSymlinks(root)]),
    pureEval,
  );
  host.allow('/__corepkgs__');
}

/** One evaluation from start to end: prints what it was asked for on standard output. */
class Evaluation {
  private readonly request: EvaluationRequest;
  private readonly parts: EvaluationParts;
  readonly evaluator: Evaluator;
  private readonly host: LocalHost;
  readonly recorder = new ReadRecorder();
  private roots = 0;

  constructor(request: EvaluationRequest, parts: EvaluationParts) {
    this.request = request;
    this.parts = parts;
    this.host = new LocalHost({
      recorder: this.recorder,
      files: new FileAccess(this.recorder, request),
      store: new EvalStore(new StoreDir(request.storeDir), parts.backend),
      fetcher: parts.fetcher,
      surroundings: request,
    });
    this.evaluator = new Evaluator({
      host: this.host,
      settings: {
        ...request.settings,
        experimentalFeatures: new Set(request.settings.experimentalFeatures),
        readOnly: request.readOnly,
      },
      searchPath: request.searchPath.map(({ prefix, path }) => ({
        prefix: toByteText(prefix),
        path: toByteText(path),
      })),
    });
  }

  run(): void {
    const { goal } = this.request;
    restrictHost(this.host, this.evaluator, this.request.settings);
    if (goal.kind === 'find-file') {
      for (const name of goal.names) this.print(`${findFile(this.evaluator.searchPath, toByteText(name))}\n`);
      return;
    }
    if (goal.kind === 'repl') {
      this.converse();
      return;
    }
    const args = this.automaticArguments();
    for (const source of this.request.sources) {
      const expr = this.parse(source);
      if (goal.kind === 'parse') this.print(`${showExpr(expr)}\n`);
      else this.process(this.evaluator.evaluateExpr(expr), args);
    }
  }

  /** Answers lines until there are no more. The prompt and the terminal are the main thread's. */
  private converse(): void {
    const { request } = this;
    const directory = this.host.workingDirectory();
    const repl = new Repl(this.evaluator, { directory, showTrace: request.settings.showTrace });
    for (const source of request.sources) {
      if (source.kind === 'file') this.print(`${repl.answer(`:l ${toByteText(source.path)}`).text}`);
    }
    let pending = '';
    for (;;) {
      const question = this.parts.ask(pending === '');
      if (question === undefined) return;
      if (question.kind === 'complete') {
        const { candidates, word } = repl.complete(toByteText(question.line));
        this.parts.tell({ candidates: candidates.map(fromByteText), word: fromByteText(word) });
        continue;
      }
      pending += `${pending === '' ? '' : '\n'}${toByteText(question.line)}`;
      if (question.line !== '' && repl.isIncomplete(pending)) continue;
      const { text, quit } = repl.answer(pending);
      pending = '';
      if (quit === true) return;
      this.print(text);
      this.parts.flush();
    }
  }

  /** What was to be printed, and is the caller's instead. */
  output = '';

  private print(text: string): void {
    const { goal } = this.request;
    this.recorder.noteOutput(text);
    if (goal.kind === 'instantiate' && goal.captured === true) this.output += text;
    else writeBytes(1, text);
  }

  private parse(source: ExpressionSource): Expr {
    const { evaluator, host } = this;
    const directory = host.workingDirectory();
    switch (source.kind) {
      case 'text':
        return evaluator.parseText(toByteText(source.text), directory);
      case 'stdin':
        return evaluator.parseStdin(toByteText(source.text), directory);
      case 'file':
        return evaluator.parseFile(evaluator.resolveExprPath(this.lookupFile(toByteText(source.path))));
    }
  }

  /** A file argument: `<name>` along the search path, a URL to fetch, or a path. */
  private lookupFile(path: string): string {
    if (path.startsWith('<') && path.endsWith('>')) {
      return findFile(this.evaluator.searchPath, path.slice(1, -1));
    }
    if (/^(channel:|https?:\/\/|file:\/\/)/.test(path)) {
      const url = path.startsWith('channel:')
        ? `https://channels.nixos.org/${path.slice('channel:'.length)}/nixexprs.tar.xz`
        : path;
      const tree = this.host.fetchUrl({ url, name: 'source', unpack: true, sha256: undefined });
      return `${this.host.storeDir}/${tree}`;
    }
    return canonicalPath(path, this.host.workingDirectory());
  }

  private automaticArguments(): Attrs {
    const builder = new AttrsBuilder();
    const last = new Map(this.request.arguments.map((argument) => [argument.name, argument]));
    for (const { name, kind, value } of last.values()) {
      const text = toByteText(value);
      const slot: Slot =
        kind === 'expression'
          ? this.delayedExpression(text)
          : kind === 'file'
            ? this.host.readFile(canonicalPath(text, this.host.workingDirectory()))
            : text;
      builder.add(intern(toByteText(name)), slot);
    }
    return builder.finish();
  }

  private delayedExpression(text: string): Slot {
    const expr = this.evaluator.parseText(text, this.host.workingDirectory());
    return delayed(() => this.evaluator.evaluateExpr(expr));
  }

  private process(root: Slot, args: Attrs): void {
    for (const path of this.request.attrPaths) {
      const slot = findAlongAttrPath(root, toByteText(path), args);
      force(slot);
      if (this.request.goal.kind === 'print') this.printValue(slot, args);
      else this.printDerivations(slot, args);
    }
  }

  private printValue(slot: Slot, args: Attrs): void {
    const { goal } = this.request;
    if (goal.kind !== 'print') return;
    const value = args.size === 0 && goal.format !== 'pretty' ? force(slot) : autoCall(args, slot);
    const collector = new ContextCollector();
    switch (goal.format) {
      case 'raw':
        this.print(
          coerceToString(value, collector, { error: 'while generating the nix-instantiate output' }),
        );
        break;
      case 'xml':
        this.print(valueToXml(value, collector, goal));
        break;
      case 'json':
        this.print(`${valueToJson(value, collector, { strict: goal.strict, copyToStore: true })}\n`);
        break;
      case 'pretty':
        this.print(
          `${printValue(value, { force: true, derivationPaths: true, indent: 2, errors: 'throw' })}\n`,
        );
        break;
      case 'plain':
        if (goal.strict) forceDeep(value);
        this.print(`${printPlain(value)}\n`);
    }
    this.parts.flush();
  }

  private printDerivations(slot: Slot, args: Attrs): void {
    const found = findDerivations(slot, args);
    this.parts.flush();
    for (const { drvPath, outputName } of found) {
      let shown = drvPath;
      if (this.request.addRoot === undefined) {
        if (this.roots++ === 0 && this.request.gcWarning !== false) this.host.log(gcWarning);
      } else {
        this.roots++;
        const link = this.roots > 1 ? `${this.request.addRoot}-${this.roots}` : this.request.addRoot;
        shown = toByteText(this.parts.addRoot(link, drvPath));
      }
      this.print(`${shown}${outputName === 'out' ? '' : `!${outputName}`}\n`);
    }
  }
}

/** Describes an error on standard error as Nix would; one that is not the program's own is told in a line. */
function reportEvaluationError(error: unknown, { settings, structuredLog }: ReportStyle): void {
  const say = (text: string): void => writeMessage(text, structuredLog);
  if (error instanceof NixError) {
    say(formatNixError(error, settings.showTrace));
    if (error.kind === 'usage') say("Try 'nix-instantiate --help' for more information.");
  } else if (error instanceof RangeError && /call stack/.test(error.message)) {
    say('error: stack overflow (possible infinite recursion)');
  } else say(`error: ${toByteText(error instanceof Error ? error.message : String(error))}`);
}

type ReportStyle = Pick<EvaluationRequest, 'settings' | 'structuredLog'>;

/** How an evaluation ended: its exit status, and what it takes to give its result again. */
export interface EvaluationOutcome {
  readonly status: number;
  readonly record: EvaluationRecord | undefined;
  /** What was captured of what it would have printed. */
  readonly output?: string;
}

/** Runs an evaluation. */
export function runEvaluation(request: EvaluationRequest, parts: EvaluationParts): EvaluationOutcome {
  try {
    const evaluation = new Evaluation(request, parts);
    evaluation.run();
    return { status: 0, record: evaluation.recorder.finish(), output: evaluation.output };
  } catch (error) {
    reportEvaluationError(error, request);
    return { status: 1, record: undefined };
  }
}
