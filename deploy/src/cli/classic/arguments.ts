import type { Assignment } from '@larder/substituter/settings/nix-conf';
import { LEVEL, showWarning, usageError } from './messages.js';
import { settingFlag, settingName } from './setting-flags.js';

/** The forms of Nix's `--log-format`, but that logs of builds are shown or not is told apart (`buildOutput`). */
export type NixLogFormat = 'raw' | 'internal-json' | 'bar';

/** What all of Nix's tools take besides their own arguments. */
export interface CommonArguments {
  /** Settings that the command line puts in force. */
  readonly settings: readonly Assignment[];
  /** What is said; see `LEVEL`. */
  readonly verbosity: number;
  /** Whether lines of building processes are shown. */
  readonly buildOutput: boolean;
  readonly logFormat: NixLogFormat;
  /** Whether nothing may be written to the store. */
  readonly readOnly: boolean;
  /** Whether to warn of results that are no root of the garbage collector. */
  readonly gcWarning: boolean;
}

/** Takes the next argument, which an option requires. */
export type NextArgument = () => string;

/**
 * Takes an argument, an option (expanded: `-rv` comes as `-r` and `-v`) or anything else, or says that it knows none
 * such. `next` gives the option's own arguments.
 */
export type ArgumentTaker = (arg: string, next: NextArgument) => boolean;

/**
 * Reads a command line as Nix's older tools do: options anywhere, short ones written together, every setting an option,
 * `--` before arguments that only look like options. What is common to all is kept here, the rest goes to `take`.
 * Reference: `Args::parseCmdline` and `LegacyArgs`.
 * @throws `usage`
 */
export function parseArguments(args: readonly string[], take: ArgumentTaker): CommonArguments {
  const reader = new ArgumentReader(args, take);
  reader.read();
  return reader;
}

const shortFlags: Readonly<Record<string, string>> = {
  '-v': '--verbose',
  '-Q': '--no-build-output',
  '-K': '--keep-failed',
  '-k': '--keep-going',
  '-j': '--max-jobs',
};

/** Settings whose number may have a unit. */
const counted = new Set(['cores', 'max-silent-time', 'timeout']);

class ArgumentReader implements CommonArguments {
  readonly settings: Assignment[] = [];
  verbosity: number = LEVEL.info;
  buildOutput = true;
  logFormat: NixLogFormat = 'raw';
  readOnly = false;
  gcWarning = true;
  readonly #args: string[];
  readonly #take: ArgumentTaker;
  #at = 0;

  constructor(args: readonly string[], take: ArgumentTaker) {
    this.#args = [...args];
    this.#take = take;
  }

  read(): void {
    let optionsEnded = false;
    while (this.#at < this.#args.length) {
      if (!optionsEnded) this.#expand();
      const arg = this.#args[this.#at++]!;
      if (arg === '--' && !optionsEnded) optionsEnded = true;
      else if (!optionsEnded && arg.startsWith('-') && this.#readCommon(shortFlags[arg] ?? arg)) continue;
      else if (!this.#take(arg, () => this.#next(arg))) {
        throw usageError(
          arg.startsWith('-') && !optionsEnded
            ? `unrecognised flag '${arg}'`
            : `unexpected argument '${arg}'`,
        );
      }
    }
  }

  /** `-qlf` becomes `-q -l -f`, and `-j3` becomes `-j 3`. */
  #expand(): void {
    const arg = this.#args[this.#at]!;
    if (!/^-[A-Za-z]./s.test(arg)) return;
    const letters = /^[A-Za-z]+/.exec(arg.slice(1))![0];
    const rest = arg.slice(1 + letters.length);
    const flags = [...letters].map((letter) => `-${letter}`);
    this.#args.splice(this.#at, 1, ...flags, ...(rest === '' ? [] : [rest]));
  }

  #next(option: string): string {
    const value = this.#args[this.#at++];
    if (value === undefined) throw usageError(`'${option}' requires an argument`);
    return value;
  }

  #value(flag: string, count: number): string {
    if (this.#at + count > this.#args.length)
      throw usageError(`flag '${flag}' requires ${count} argument(s)`);
    return this.#args[this.#at++]!;
  }

  #readCommon(flag: string): boolean {
    switch (flag) {
      case '--verbose':
        this.verbosity++;
        return true;
      case '--quiet':
        this.verbosity = Math.max(LEVEL.error, this.verbosity - 1);
        return true;
      case '--debug':
        this.verbosity = LEVEL.debug;
        return true;
      case '--no-build-output':
        this.buildOutput = false;
        return true;
      case '--no-gc-warning':
        this.gcWarning = false;
        return true;
      case '--readonly-mode':
        this.readOnly = true;
        return true;
      case '--log-format':
        this.#logFormat(this.#value(flag, 1));
        return true;
      case '--option':
        this.#option(this.#value(flag, 2), this.#value(flag, 1));
        return true;
      default:
        return this.#readSetting(flag);
    }
  }

  #readSetting(flag: string): boolean {
    const setting = flag.startsWith('--') ? settingFlag(flag) : undefined;
    if (setting === undefined) return false;
    const value = setting.value ?? this.#value(flag, 1);
    if (counted.has(setting.name) && !/^\d+[KMGT]?$/i.test(value))
      throw usageError(`'${value}' is not an integer`);
    this.#assign(setting.name, value);
    return true;
  }

  #option(name: string, value: string): void {
    const present = settingName(name);
    if (present === undefined) showWarning(`unknown setting '${name}'`);
    else this.#assign(present, value);
  }

  #assign(name: string, value: string): void {
    this.settings.push({ name, value, origin: 'command line' });
  }

  #logFormat(format: string): void {
    if (!['raw', 'raw-with-logs', 'internal-json', 'bar', 'bar-with-logs'].includes(format))
      throw usageError(`option 'log-format' has an invalid value '${format}'`);
    this.buildOutput = format.endsWith('-with-logs') || format === 'internal-json';
    this.logFormat = format.replace('-with-logs', '') as NixLogFormat;
  }
}
