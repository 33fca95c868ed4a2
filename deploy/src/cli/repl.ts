import { createInterface, type Interface } from 'node:readline';
import { makeReplRequest } from '@larder/builder/eval-arguments';
import type { ReplCompletion, ReplQuestion } from '@larder/builder/evaluation';
import type { EvaluationPrompt } from '@larder/builder/evaluation-services';
import type { Command } from 'commander';
import { describeMachine } from '../evaluation-machine.js';
import { createVerb } from './command.js';
import { addEvalOptions, type EvalVerbOptions, readEvalOptions } from './eval-options.js';
import { runOnMachine } from './evaluation-session.js';

/** Reads lines from the terminal, or from a pipe, and completes names with the tabulator. */
class TerminalPrompt implements EvaluationPrompt {
  private readonly terminal: Interface;
  private readonly lines: string[] = [];
  private waiting: ((question: ReplQuestion | undefined) => void) | undefined;
  private completed: ((completion: ReplCompletion) => void) | undefined;
  private closed = false;

  constructor() {
    this.terminal = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: process.stdin.isTTY === true && process.stdout.isTTY === true,
      historySize: 1000,
      completer: (line: string, done: (error: null, result: [string[], string]) => void) =>
        this.complete(line, done),
    });
    this.terminal.on('line', (line) => {
      if (this.waiting === undefined) this.lines.push(line);
      else this.answer({ kind: 'line', line });
    });
    this.terminal.on('close', () => {
      this.closed = true;
      this.answer(undefined);
    });
  }

  private answer(question: ReplQuestion | undefined): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.(question);
  }

  private complete(line: string, done: (error: null, result: [string[], string]) => void): void {
    if (this.waiting === undefined) {
      done(null, [[], line]);
      return;
    }
    this.completed = ({ candidates, word }) => done(null, [[...candidates], word]);
    this.answer({ kind: 'complete', line });
  }

  ask(fresh: boolean): Promise<ReplQuestion | undefined> {
    const line = this.lines.shift();
    if (line !== undefined) return Promise.resolve({ kind: 'line', line });
    if (this.closed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.waiting = resolve;
      if (this.completed === undefined && process.stdin.isTTY === true) {
        this.terminal.setPrompt(fresh ? 'nix> ' : '   | ');
        this.terminal.prompt();
      }
    });
  }

  tell(completion: ReplCompletion): void {
    const { completed } = this;
    completed?.(completion);
    // The next `ask` waits for the line that is being typed; its prompt is there already.
    setImmediate(() => {
      this.completed = undefined;
    });
  }

  close(): void {
    this.terminal.close();
  }
}

/** `larder repl`: an interactive evaluation. */
export function createCommand(): Command {
  const command = createVerb('repl', {
    summary: 'Evaluate Nix expressions interactively. The tabulator completes attributes; :? lists commands.',
    examples: [
      ['larder repl', 'with the builtins in scope'],
      ['larder repl ./default.nix', "with a file's attributes in scope"],
    ],
  }).argument('[file...]', 'files whose attributes are in scope from the start');
  return addEvalOptions(command).action(async (files: string[], options: EvalVerbOptions) => {
    const machine = describeMachine();
    const request = makeReplRequest(files, readEvalOptions(options), machine.surroundings);
    const prompt = new TerminalPrompt();
    try {
      process.exitCode = await runOnMachine(request, machine, { prompt });
    } finally {
      prompt.close();
    }
  });
}
