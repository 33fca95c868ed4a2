/**
 * Cuts a build's output into lines as a terminal would show them: a carriage return starts the line over.
 * Lines are byte strings. Keeps the last ones for error messages.
 */
export class LogLines {
  readonly #kept: number;
  readonly #onLine: (line: string) => void;
  readonly #onStructured: (line: string) => void;
  readonly #tail: string[] = [];
  #line = '';
  #column = 0;

  /** `onStructured` gets the lines that are for programs, and that nobody is shown. */
  constructor(kept: number, onLine: (line: string) => void, onStructured: (line: string) => void = () => {}) {
    this.#kept = kept;
    this.#onLine = onLine;
    this.#onStructured = onStructured;
  }

  /** The last lines. */
  get tail(): readonly string[] {
    return this.#tail;
  }

  write(chunk: Uint8Array): void {
    const text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    for (const part of text.split(/(\r|\n)/)) {
      if (part === '\n') this.#flush();
      else if (part === '\r') this.#column = 0;
      else this.#put(part);
    }
  }

  end(): void {
    if (this.#line !== '') this.#flush();
  }

  #put(text: string): void {
    this.#line = this.#line.slice(0, this.#column) + text + this.#line.slice(this.#column + text.length);
    this.#column += text.length;
  }

  #flush(): void {
    const line = Buffer.from(this.#line, 'latin1').toString('utf8');
    this.#line = '';
    this.#column = 0;
    // Lines for the logger, not for people (structured messages, as from `NIX_LOG_FD`).
    if (line.startsWith('@nix ')) {
      this.#onStructured(line);
      return;
    }
    this.#tail.push(line);
    if (this.#tail.length > this.#kept) this.#tail.shift();
    this.#onLine(line);
  }
}
