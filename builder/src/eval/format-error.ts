import { ELLIPSIS } from './byte-text.js';
import type { NixError, Trace } from './errors.js';
import { formatOrigin, type Pos, resolvePosition, sourceLines } from './positions.js';

/** Marks the end of a message that ends in a line end, which is then printed as an empty line. */
export const MESSAGE_END = '\x1f\x1e\x1f';

const ellipsisIndent = '  ';

function codeLine(number: number, line: string): string {
  return `\n ${number.toString().padStart(5)}| ${line}`;
}

/** `at file:line:column:` and the lines around it, with a caret under the column. */
function formatPlace(indent: string, pos: Pos): string {
  const place = resolvePosition(pos);
  if (place === undefined) return '';
  let out = `${indent}at ${formatOrigin(place.origin)}:${place.line}:${place.column}:`;
  const lines = sourceLines(place.origin);
  if (lines === undefined) return out;
  const { line, column } = place;
  // A final line end starts no further line.
  const last = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const has = (number: number) => number >= 1 && (number <= last || (number === 1 && lines.length === 1));
  if (has(line - 1)) out += codeLine(line - 1, lines[line - 2]!);
  if (has(line) || line === lines.length) {
    out += codeLine(line, lines[line - 1] ?? '');
    if (column > 0) out += `\n      |${' '.repeat(column)}^`;
  }
  if (line + 1 <= lines.length) out += codeLine(line + 1, lines[line]!);
  return `${out}\n`;
}

class TracePrinter {
  out = '';
  count = 0;
  private seen = new Set<string>();
  private skipped: Trace[] = [];

  add(trace: Trace): void {
    const key = `${trace.pos}\0${trace.text}`;
    if (this.seen.has(key)) {
      this.skipped.push(trace);
      return;
    }
    this.seen.add(key);
    this.flush();
    this.count++;
    this.print(trace);
  }

  private print(trace: Trace): void {
    this.out += `\n${ELLIPSIS} ${trace.text}\n`;
    const place = formatPlace(ellipsisIndent, trace.pos);
    if (place !== '') this.count++;
    this.out += place;
  }

  /** Prints frames that were seen before: one by one when few, else their number. */
  flush(): void {
    if (this.skipped.length > 5) {
      this.out += `\n(${this.skipped.length} duplicate frames omitted)\n`;
    } else for (const trace of this.skipped) this.print(trace);
    this.skipped = [];
  }
}

function formatTraces(error: NixError, showTrace: boolean): string {
  const printer = new TracePrinter();
  let truncated = false;
  for (let trace = error.outermost; trace !== undefined; trace = trace.inner) {
    if (trace.text === '') continue;
    if (!showTrace && printer.count > 3) truncated = true;
    if (!truncated || trace.always) printer.add(trace);
  }
  printer.flush();
  if (truncated) {
    printer.out += "\n(stack trace truncated; use '--show-trace' to show the full, detailed trace)\n";
  }
  return printer.out;
}

function formatSuggestions(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length === 1) return `Did you mean ${names[0]}?\n`;
  return `Did you mean one of ${names.slice(0, -1).join(', ')} or ${names.at(-1)}?\n`;
}

/** Puts a heading before the first line of a text, and indents the rest to it. */
function withHeading(heading: string, text: string): string {
  const rest = ' '.repeat(heading.length);
  return text
    .split('\n')
    .map((line, i) => ((i === 0 ? heading : rest) + line).replace(/[ \t\r\n]+$/, ''))
    .join('\n');
}

/** Tabs to columns of eight, and no carriage returns: what Nix does to what it prints. */
function expandTabs(text: string): string {
  if (!/[\t\r]/.test(text)) return text;
  let column = 0;
  let out = '';
  for (const c of text) {
    if (c === '\t') {
      const spaces = 8 - (column % 8);
      out += ' '.repeat(spaces);
      column += spaces;
    } else if (c !== '\r') {
      out += c;
      column++;
    }
  }
  return out;
}

function describe(error: NixError, level: 'error' | 'warning', showTrace: boolean): string {
  const heading = `${level}: `;
  let text = '';
  if (error.outermost !== undefined) text += `${formatTraces(error, showTrace)}\n${heading}`;
  text += `${error.text}\n${formatPlace('', error.pos)}${formatSuggestions(error.suggestions)}`;
  return expandTabs(withHeading(heading, text.replace(/[ \t\r\n]+$/, '')).replaceAll(MESSAGE_END, ''));
}

/** An error as Nix prints it, without a final line end (bytes). */
export function formatNixError(error: NixError, showTrace: boolean): string {
  return describe(error, 'error', showTrace);
}

/** An error that was only worth a warning. */
export function formatErrorAsWarning(error: NixError): string {
  return describe(error, 'warning', false);
}

/** What `builtins.warn` prints for a message. */
export function formatWarning(text: string): string {
  if (text.startsWith('\n')) return `evaluation warning:${text.replace(/[ \t\r\n]+$/, '')}`;
  return withHeading('evaluation warning: ', text.replace(/[ \t\r\n]+$/, ''));
}
