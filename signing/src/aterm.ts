import { LarderError } from './errors.js';

const UNESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** Quotes a string for an ATerm. */
export function escapeAterm(text: string): string {
  if (!/["\\\n\r\t]/.test(text)) return `"${text}"`;
  // One plain replacement after the other is several times as fast as a function for each character.
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t');
  return `"${escaped}"`;
}

/** Reads the subset of ATerm that derivations use: constructors, lists and strings, without white space. */
export class AtermReader {
  readonly #text: string;
  readonly #source: string;
  #at = 0;

  constructor(text: string, source: string) {
    this.#text = text;
    this.#source = source;
  }

  /** Skips `literal`. @throws `derivation-malformed` */
  expect(literal: string): void {
    if (!this.#text.startsWith(literal, this.#at)) {
      throw this.malformed(`'${literal}' is expected, not '${this.#text.slice(this.#at, this.#at + 12)}'`);
    }
    this.#at += literal.length;
  }

  string(): string {
    this.expect('"');
    const start = this.#at;
    let escaped = false;
    for (; this.#text[this.#at] !== '"'; this.#at++) {
      if (this.#at >= this.#text.length) throw this.malformed('a string does not end');
      if (this.#text[this.#at] === '\\') {
        escaped = true;
        this.#at++;
      }
    }
    const raw = this.#text.slice(start, this.#at++);
    return escaped
      ? raw.replace(/\\([\s\S])/g, (_, character: string) => UNESCAPES[character] ?? character)
      : raw;
  }

  strings(): string[] {
    const items: string[] = [];
    this.list(() => items.push(this.string()));
    return items;
  }

  /** Calls `item` for each element of a list, placed at its start. */
  list(item: () => void): void {
    this.expect('[');
    if (this.#text[this.#at] === ']') {
      this.#at++;
      return;
    }
    for (;;) {
      item();
      if (this.#text[this.#at] === ']') break;
      this.expect(',');
    }
    this.#at++;
  }

  end(): void {
    if (this.#at !== this.#text.length) throw this.malformed('something follows the end');
  }

  malformed(why: string): LarderError {
    return new LarderError(
      'derivation-malformed',
      `${this.#source} is malformed at character ${this.#at}: ${why}`,
    );
  }
}
