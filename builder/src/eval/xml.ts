import { Attrs } from './attrs.js';
import type { ContextCollector } from './context.js';
import { enterDepth, isDerivation, leaveDepth } from './force.js';
import { formatFloat } from './literal.js';
import { canonicalPath } from './parser.js';
import { noPos, type Pos, resolvePosition } from './positions.js';
import { sym, symbolName } from './symbols.js';
import {
  force,
  isInt,
  isString,
  Lambda,
  NixFloat,
  NixPath,
  NixString,
  type Slot,
  stringText,
  Thunk,
  type Value,
} from './values.js';

/** How to print a value as XML. */
export interface XmlOptions {
  readonly strict: boolean;
  /** Say where attributes and functions were defined. */
  readonly location: boolean;
}

type XmlAttributes = Readonly<Record<string, string>>;

function escapeXml(text: string): string {
  return text.replace(/["<>&\n]/g, (c) => {
    switch (c) {
      case '"':
        return '&quot;';
      case '<':
        return '&lt;';
      case '>':
        return '&gt;';
      case '&':
        return '&amp;';
      default:
        return '&#xA;';
    }
  });
}

class XmlWriter {
  out = "<?xml version='1.0' encoding='utf-8'?>\n";
  private depth = 0;

  element(name: string, attributes: XmlAttributes, body?: () => void): void {
    const written = Object.keys(attributes)
      .sort()
      .map((key) => ` ${key}="${escapeXml(attributes[key]!)}"`)
      .join('');
    const indent = '  '.repeat(this.depth);
    if (body === undefined) {
      this.out += `${indent}<${name}${written} />\n`;
      return;
    }
    this.out += `${indent}<${name}${written}>\n`;
    this.depth++;
    body();
    this.depth--;
    this.out += `${indent}</${name}>\n`;
  }
}

class XmlPrinter {
  readonly writer = new XmlWriter();
  private readonly options: XmlOptions;
  private readonly collector: ContextCollector;
  private readonly drvsSeen = new Set<string>();

  constructor(options: XmlOptions, collector: ContextCollector) {
    this.options = options;
    this.collector = collector;
  }

  print(slot: Slot, pos: Pos): void {
    enterDepth(pos);
    if (slot instanceof Thunk && !this.options.strict && slot.peek() === undefined) {
      this.writer.element('unevaluated', {});
    } else this.printValue(force(slot, pos), pos);
    leaveDepth();
  }

  private printValue(value: Value, pos: Pos): void {
    const { writer } = this;
    const leaf = (name: string, text: string) => writer.element(name, { value: text });
    if (isString(value)) {
      if (value instanceof NixString) this.collector.addAll(value.context);
      leaf('string', stringText(value));
    } else if (isInt(value)) leaf('int', value.toString());
    else if (typeof value === 'boolean') leaf('bool', value.toString());
    else if (value === null) writer.element('null', {});
    else if (value instanceof NixFloat) leaf('float', formatFloat(value.value));
    else if (value instanceof NixPath) leaf('path', canonicalPath(value.path));
    else if (Array.isArray(value)) {
      writer.element('list', {}, () => {
        for (const item of value) this.print(item, pos);
      });
    } else if (value instanceof Attrs) this.printSet(value);
    else if (value instanceof Lambda) this.printLambda(value);
    else writer.element('unevaluated', {});
  }

  private printSet(attrs: Attrs): void {
    if (!isDerivation(attrs)) {
      this.writer.element('attrs', {}, () => this.printAttrs(attrs));
      return;
    }
    const attributes: Record<string, string> = {};
    for (const [name, id] of [
      ['drvPath', sym.drvPath],
      ['outPath', sym.outPath],
    ] as const) {
      const slot = attrs.get(id);
      if (slot === undefined) continue;
      const ready = slot instanceof Thunk && !this.options.strict ? slot.peek() : force(slot);
      if (ready !== undefined && isString(ready)) attributes[name] = stringText(ready);
    }
    this.writer.element('derivation', attributes, () => {
      const { drvPath = '' } = attributes;
      if (drvPath === '' || this.drvsSeen.has(drvPath)) this.writer.element('repeated', {});
      else {
        this.drvsSeen.add(drvPath);
        this.printAttrs(attrs);
      }
    });
  }

  private place(pos: Pos): XmlAttributes {
    const place = this.options.location && pos !== noPos ? resolvePosition(pos) : undefined;
    if (place === undefined) return {};
    const lines = { line: place.line.toString(), column: place.column.toString() };
    return place.origin.kind === 'file' ? { ...lines, path: place.origin.path } : lines;
  }

  private printAttrs(attrs: Attrs): void {
    for (const index of attrs.shape.order()) {
      const pos = attrs.shape.position(index);
      const name = symbolName(attrs.shape.ids[index]!);
      this.writer.element('attr', { name, ...this.place(pos) }, () => this.print(attrs.values[index]!, pos));
    }
  }

  private printLambda(lambda: Lambda): void {
    const { expr } = lambda.code;
    const { writer } = this;
    writer.element('function', this.place(expr.pos), () => {
      if (expr.formals === undefined) {
        writer.element('varpat', { name: symbolName(expr.argument!) });
        return;
      }
      const attributes: Record<string, string> = {};
      if (expr.argument !== undefined) attributes.name = symbolName(expr.argument);
      if (expr.formals.ellipsis) attributes.ellipsis = '1';
      const names = expr.formals.list.map((formal) => symbolName(formal.name)).sort();
      writer.element('attrspat', attributes, () => {
        for (const name of names) writer.element('attr', { name });
      });
    });
  }
}

/** A value as XML (bytes), as `builtins.toXML` gives it. */
export function valueToXml(slot: Slot, collector: ContextCollector, options: XmlOptions): string {
  const printer = new XmlPrinter(options, collector);
  printer.writer.element('expr', {}, () => printer.print(slot, noPos));
  return printer.writer.out;
}
