import { Attrs, emptyAttrs } from './attrs.js';
import { autoCall } from './auto-call.js';
import { innerScope, type Scope } from './bind.js';
import { NixError } from './errors.js';
import type { Evaluator } from './evaluator.js';
import { formatNixError } from './format-error.js';
import { printAttributeName } from './literal.js';
import { canonicalPath } from './parser.js';
import { printValue } from './print-value.js';
import { symbolName } from './symbols.js';
import { describeType } from './types.js';
import { type Env, force, type Slot, type Value } from './values.js';

const help = `  <expression>     print its value
  <name> = <expr>  define a name; several with ; between them
  :a <expression>  put the attributes of a set into scope
  :l <file>        load a file and put its attributes into scope
  :r               load all files again
  :t <expression>  print the type of a value
  :p <expression>  print a value with everything in it
  :q               leave
`;

/** What a line typed at the prompt gives. */
export interface ReplAnswer {
  /** Text to show (bytes); empty for nothing. */
  readonly text: string;
  readonly quit?: boolean;
}

/** An interactive evaluation: names that lines define, and lines that use them. */
export class Repl {
  private readonly evaluator: Evaluator;
  private readonly directory: string;
  private readonly showTrace: boolean;
  private readonly variables = new Map<number, Slot>();
  private readonly files: string[] = [];

  constructor(evaluator: Evaluator, options: { readonly directory: string; readonly showTrace: boolean }) {
    this.evaluator = evaluator;
    this.directory = options.directory;
    this.showTrace = options.showTrace;
  }

  private scope(): { scope: Scope; env: Env } {
    return {
      scope: innerScope(this.evaluator.scope, this.variables.keys()),
      env: [[], ...this.variables.values()],
    };
  }

  private evaluate(text: string): Value {
    const { scope, env } = this.scope();
    return this.evaluator.evaluateExpr(this.evaluator.parseText(text, this.directory, scope), env);
  }

  private define(text: string): number {
    // As a recursive set, so that definitions of one line can use each other; what is in scope stays visible.
    const attrs = this.evaluate(`rec {${text}${text.trimEnd().endsWith(';') ? '' : ';'}}`) as Attrs;
    return this.addToScope(attrs);
  }

  private addToScope(attrs: Attrs): number {
    attrs.shape.ids.forEach((id, i) => {
      this.variables.set(id, attrs.values[i]!);
    });
    return attrs.size;
  }

  /** Puts the attributes of a file's value into scope; gives how many there were. */
  loadFile(file: string): number {
    if (!this.files.includes(file)) this.files.push(file);
    const path = this.evaluator.resolveExprPath(canonicalPath(file, this.directory));
    const value = autoCall(emptyAttrs, this.evaluator.importFile(path));
    if (!(value instanceof Attrs)) {
      throw new NixError('type', `'${file}' evaluates to ${describeType(value)}, not to a set`);
    }
    return this.addToScope(value);
  }

  private print(value: Value, deep: boolean): string {
    const text = printValue(value, {
      force: true,
      derivationPaths: true,
      indent: 2,
      ...(deep ? {} : { maxDepth: 1 }),
      errors: 'throw-top-level',
    });
    return `${text}\n`;
  }

  private added(count: number): string {
    return `Added ${count} variable${count === 1 ? '' : 's'}.\n`;
  }

  private command(name: string, rest: string): ReplAnswer {
    switch (name) {
      case ':q':
      case ':quit':
        return { text: '', quit: true };
      case ':?':
      case ':help':
        return { text: help };
      case ':a':
      case ':add': {
        const value = this.evaluate(rest);
        if (!(value instanceof Attrs)) {
          throw new NixError('type', `:a wants a set, and this is ${describeType(value)}`);
        }
        return { text: this.added(this.addToScope(value)) };
      }
      case ':l':
      case ':load':
        return { text: this.added(this.loadFile(rest)) };
      case ':r':
      case ':reload': {
        this.evaluator.forgetFiles();
        return { text: this.added(this.files.reduce((sum, file) => sum + this.loadFile(file), 0)) };
      }
      case ':t':
        return { text: `${describeType(this.evaluate(rest))}\n` };
      case ':p':
      case ':print':
        return { text: this.print(this.evaluate(rest), true) };
      default:
        throw new NixError('other', `unknown command '${name}'; ':?' lists them all`);
    }
  }

  private run(line: string): ReplAnswer {
    const command = /^(:\S+)\s*(.*)$/s.exec(line);
    if (command !== null) return this.command(command[1]!, command[2]!.trim());
    if (
      /^[a-zA-Z_][a-zA-Z0-9_'-]*(\.[a-zA-Z_][a-zA-Z0-9_'-]*)*\s*=(?!=)/.test(line) ||
      line.startsWith('inherit ')
    ) {
      this.define(line);
      return { text: '' };
    }
    return { text: this.print(this.evaluate(line), false) };
  }

  /** Takes a line (bytes); an error becomes text. */
  answer(line: string): ReplAnswer {
    if (line.trim() === '') return { text: '' };
    try {
      return this.run(line.trim());
    } catch (error) {
      if (error instanceof NixError) return { text: `${formatNixError(error, this.showTrace)}\n` };
      if (error instanceof RangeError)
        return { text: 'error: stack overflow (possible infinite recursion)\n' };
      throw error;
    }
  }

  /** Whether a text is an expression that goes on: its end was met too early. */
  isIncomplete(text: string): boolean {
    if (text.startsWith(':')) return false;
    try {
      this.evaluator.parseText(text, this.directory, this.scope().scope);
      return false;
    } catch (error) {
      return error instanceof NixError && error.text.startsWith('syntax error, unexpected end of file');
    }
  }

  /** What the word at the end of a line can become: variables, builtins, and attributes of sets already evaluated. */
  complete(line: string): { candidates: readonly string[]; word: string } {
    const word = /[a-zA-Z_][a-zA-Z0-9_'.-]*$/.exec(line)?.[0] ?? '';
    const dot = word.lastIndexOf('.');
    const prefix = word.slice(dot + 1);
    const before = dot < 0 ? '' : word.slice(0, dot);
    const names = dot < 0 ? this.visibleNames() : this.attributeNames(before);
    const candidates = names
      .filter((name) => name.startsWith(prefix))
      .sort()
      .map((name) => (before === '' ? name : `${before}.${printAttributeName(name)}`));
    return { candidates, word };
  }

  private visibleNames(): string[] {
    const own = [...this.variables.keys()].map(symbolName);
    const base = [...(this.evaluator.scope.base?.keys() ?? [])].map(symbolName);
    return [...new Set([...own, ...base])];
  }

  private attributeNames(expression: string): string[] {
    try {
      const value = force(this.evaluate(expression));
      return value instanceof Attrs ? value.names() : [];
    } catch {
      return [];
    }
  }
}
