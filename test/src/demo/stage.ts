import { setTimeout as delay } from 'node:timers/promises';
import { styleText } from 'node:util';
import type { Larder } from '../larder/larder.js';

type Style = Parameters<typeof styleText>[0];

/** Where the demo plays: headings, commands as one would type them, and what they print. */
export class Stage {
  readonly #larder: Larder;
  readonly #colors: boolean;
  /** Long words, and the short ones that stand for them on the screen. */
  readonly #short: [long: string, short: string][] = [];
  #step = 0;
  #seconds = 0;

  constructor(larder: Larder, { colors }: { readonly colors: boolean }) {
    this.#larder = larder;
    this.#colors = colors;
  }

  /** How long the last command that was run took. */
  get seconds(): number {
    return this.#seconds;
  }

  /** From now on `short` is shown for `long`. */
  abbreviate(long: string, short: string): void {
    this.#short.push([long, short]);
    this.#short.sort(([left], [right]) => right.length - left.length);
  }

  /** Begins a numbered step. */
  heading(text: string): void {
    this.#step += 1;
    this.#print(`\n${this.#paint(['bold', 'cyan'], `${this.#step}. ${text}`)}`);
  }

  /** A remark. */
  say(text: string): void {
    for (const line of text.split('\n')) this.#print(`   ${line}`);
  }

  /** Something that a reader may want to copy: nothing in it is shortened. */
  quote(text: string): void {
    for (const line of text.split('\n')) process.stdout.write(`     ${this.#paint('green', line)}\n`);
  }

  /** A command, without running it. */
  command(args: readonly string[]): void {
    this.#print(
      `   ${this.#paint('dim', '$')} ${this.#paint('bold', `larder ${args.map(quoteArgument).join(' ')}`)}`,
    );
  }

  /**
   * Runs `larder`, showing the command and what it prints; returns its standard output.
   * @throws when it fails: then the demo has failed.
   */
  async run(args: readonly string[]): Promise<string> {
    this.command(args);
    const started = performance.now();
    const { status, stdout, stderr } = await this.#larder.try(args);
    this.#seconds = (performance.now() - started) / 1000;
    const output = stdout.toString().trim();
    this.#output(stderr);
    this.#output(output);
    if (status !== 0) throw new Error(`larder ${args.join(' ')} ended with ${status}`);
    // A reader follows more easily when not everything is there at once.
    if (this.#colors) await delay(400);
    return output;
  }

  /**
   * Runs `larder`, which must refuse with a message that matches; shows that.
   * @throws when it succeeds, or fails for another reason: then the demo has failed.
   */
  async runRefused(args: readonly string[], reason: RegExp): Promise<void> {
    this.command(args);
    const { status, stderr } = await this.#larder.try(args);
    this.#output(stderr.trim(), 'red');
    if (status === 1 && reason.test(stderr)) {
      this.say(this.#paint(['bold', 'green'], '✓ refused') + ` (exit code ${status})`);
      return;
    }
    throw new Error(`this should have been refused for ${reason.source}; it ended with ${status}`);
  }

  #output(text: string, style: Style = 'dim'): void {
    for (const line of text.split('\n')) if (line !== '') this.#print(`     ${this.#paint(style, line)}`);
  }

  #print(text: string): void {
    let shown = text;
    for (const [long, short] of this.#short) shown = shown.replaceAll(long, short);
    // Of a store path's 32 letters a few are enough to tell it from the others here.
    shown = shown.replaceAll(/\b([0-9a-df-np-sv-z]{6})[0-9a-df-np-sv-z]{26}-/g, '$1…-');
    process.stdout.write(`${shown}\n`);
  }

  #paint(style: Style, text: string): string {
    return this.#colors ? styleText(style, text, { validateStream: false }) : text;
  }
}

function quoteArgument(argument: string): string {
  return /^[\w@%+=:,./$…-]+$/.test(argument) ? argument : `'${argument}'`;
}
