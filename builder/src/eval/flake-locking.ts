import { toByteText } from './byte-text.js';
import { NixError } from './errors.js';
import type { FlakeRef } from './flake-ref.js';
import { readFlakeRef } from './local-flake.js';

/** What becomes of a lock file that lacks something: it is written, left alone with a warning, or the reason to fail. */
export type FlakeLockMode = 'write' | 'keep' | 'refuse';

/** What is done about the lock file of the outermost flake. An input is named by the way to it, `a/b`. */
export interface FlakeLocking {
  readonly mode: FlakeLockMode;
  /** Whether what it has is left out of account. */
  readonly recreate?: boolean;
  /** Inputs for which it is. */
  readonly updates?: readonly string[];
  /** Inputs that are taken from elsewhere, and the reference to that. */
  readonly overrides?: readonly (readonly [input: string, reference: string])[];
  /** Whether it is committed, where it is written in a git work tree. */
  readonly commit?: boolean;
}

/** The changes to a lock file that the user wants, and the inputs they were asked for. */
export class LockChanges {
  readonly recreate: boolean;
  readonly #updates: ReadonlySet<string>;
  readonly #overrides: ReadonlyMap<string, FlakeRef>;
  /** All inputs; those that follow others are not `#updatable`. */
  readonly #inputs = new Set<string>();
  readonly #updatable = new Set<string>();

  constructor({ recreate = false, updates = [], overrides = [] }: Partial<FlakeLocking>) {
    this.recreate = recreate;
    this.#updates = new Set(updates.map(parseInputPath));
    this.#overrides = new Map(overrides.map(([input, text]) => [parseInputPath(input), readOverride(text)]));
  }

  get isEmpty(): boolean {
    return !this.recreate && this.#updates.size + this.#overrides.size === 0;
  }

  /** Whether what the lock file has of an input, which follows no other, is left out of account. */
  isUpdated(path: readonly string[]): boolean {
    const name = path.join('/');
    this.#updatable.add(name);
    return this.#updates.has(name);
  }

  /** Where an input is taken from instead. */
  overrideOf(path: readonly string[]): FlakeRef | undefined {
    const name = path.join('/');
    this.#inputs.add(name);
    return this.#overrides.get(name);
  }

  /** Whether some input of that input is to change. */
  isBelow(path: readonly string[]): boolean {
    const start = `${path.join('/')}/`;
    return [...this.#updates, ...this.#overrides.keys()].some((name) => name.startsWith(start));
  }

  /**
   * To be called when all inputs were asked for.
   * @throws NixError for a change to what is no input. Nix warns: but then a misspelt one is a switch to the old system.
   */
  checkUsed(): void {
    const overridden = [...this.#overrides.keys()].find((name) => !this.#inputs.has(name));
    if (overridden !== undefined) throw noInput('--override-input', overridden, this.#inputs);
    const updated = [...this.#updates].find((name) => !this.#updatable.has(name));
    if (updated === undefined) return;
    if (!this.#inputs.has(updated)) throw noInput('--update-input', updated, this.#inputs);
    throw new NixError(
      'other',
      `'--update-input ${updated}': that input follows another, which can be updated`,
    );
  }
}

function readOverride(text: string): FlakeRef {
  const ref = readFlakeRef(text);
  if (ref !== undefined) return ref;
  throw new NixError('other', toByteText(`'${text}' is not a valid flake reference`));
}

function noInput(flag: string, name: string, inputs: ReadonlySet<string>): NixError {
  const known = inputs.size === 0 ? 'the flake has none' : `there are ${[...inputs].sort().join(', ')}`;
  return new NixError('other', `'${flag} ${name}' does not match any input: ${toByteText(known)}`);
}

function parseInputPath(text: string): string {
  const parts = text.split('/').filter((part) => part !== '');
  const stranger = parts.find((part) => !/^[a-zA-Z][a-zA-Z0-9_-]*$/.test(part));
  if (stranger === undefined && parts.length > 0) return parts.join('/');
  throw new NixError('other', toByteText(`invalid flake input path element '${stranger ?? text}'`));
}
