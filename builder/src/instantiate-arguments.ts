import { existsSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { FlakeLocking, FlakeLockMode } from './eval/flake-locking.js';
import { parseNixPath, parseSearchPathEntry, type SearchPathEntry } from './eval/search-path-entry.js';
import type {
  AutoArgument,
  EvaluationGoal,
  EvaluationRequest,
  ExpressionSource,
} from './instantiate-request.js';
import {
  applySetting,
  defaultSettings,
  isSetting,
  isSwitch,
  type MutableSettings,
} from './language-settings.js';

/** Where a command was started, as far as evaluation depends on it. */
export interface CommandSurroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly workingDirectory: string;
  readonly storeDir: string;
  readonly realStoreDir: string;
  /** Settings in force before the command line: those of nix.conf, in order. */
  readonly configuration: readonly (readonly [name: string, value: string])[];
  readStandardInput(): string;
}

/** `--lock-flake`, which `nix-instantiate` does not have: what `nix build` does with the lock file of a flake. */
function parseLockMode(value: string): FlakeLockMode {
  if (value === 'write' || value === 'keep' || value === 'refuse') return value;
  throw new LarderError('usage', `--lock-flake takes write, keep or refuse, not '${value}'`);
}

class ArgumentReader {
  readonly files: string[] = [];
  readonly attrPaths: string[] = [];
  readonly autoArguments: AutoArgument[] = [];
  readonly includes: SearchPathEntry[] = [];
  readonly settings: MutableSettings;
  mode: 'instantiate' | 'eval' | 'parse' | 'find-file' = 'instantiate';
  format: 'plain' | 'raw' | 'xml' | 'json' = 'plain';
  strict = false;
  location = true;
  fromText = false;
  standardInput = false;
  readWrite = false;
  dryRun = false;
  addRoot: string | undefined;
  private readonly args: readonly string[];
  private at = 0;

  constructor(args: readonly string[], settings: MutableSettings) {
    // Short options may be written together, `-vA` for `-v -A`.
    this.args = args.flatMap((arg) =>
      /^-[a-zA-Z]{2,}$/.test(arg) ? [...arg.slice(1)].map((letter) => `-${letter}`) : [arg],
    );
    this.settings = settings;
  }

  private next(option: string): string {
    const value = this.args[this.at++];
    if (value === undefined) throw new LarderError('usage', `option '${option}' requires an argument`);
    return value;
  }

  read(): void {
    while (this.at < this.args.length) {
      const arg = this.args[this.at++]!;
      if (!this.readMode(arg) && !this.readCommon(arg) && !this.readLocking(arg) && !this.readSetting(arg)) {
        if (arg.startsWith('-') && arg !== '-') {
          throw new LarderError('usage', `unrecognised option '${arg}'`);
        }
        this.files.push(arg);
      }
    }
  }

  private readMode(arg: string): boolean {
    switch (arg) {
      case '-':
        this.standardInput = true;
        return true;
      case '--expr':
      case '-E':
        this.fromText = true;
        return true;
      case '--eval':
      case '--eval-only':
        this.mode = this.mode === 'parse' ? 'parse' : 'eval';
        return true;
      case '--parse':
      case '--parse-only':
        this.mode = 'parse';
        return true;
      case '--find-file':
        this.mode = 'find-file';
        return true;
      case '--read-write-mode':
        this.readWrite = true;
        return true;
      case '--raw':
      case '--xml':
      case '--json':
        this.format = arg.slice(2) as 'raw' | 'xml' | 'json';
        return true;
      case '--no-location':
        this.location = false;
        return true;
      case '--strict':
        this.strict = true;
        return true;
      case '--dry-run':
        this.dryRun = true;
        return true;
      default:
        return false;
    }
  }

  private readCommon(arg: string): boolean {
    switch (arg) {
      case '--attr':
      case '-A':
        this.attrPaths.push(this.next(arg));
        return true;
      case '--add-root':
        this.addRoot = this.next(arg);
        return true;
      case '--indirect':
      case '--verbose':
      case '-v':
      case '--quiet':
      case '-Q':
      case '--no-build-output':
      case '-K':
      case '-k':
      case '--repair':
        return true;
      case '--arg':
      case '--argstr':
      case '--arg-from-file': {
        const name = this.next(arg);
        const kind = arg === '--arg' ? 'expression' : arg === '--argstr' ? 'string' : 'file';
        this.autoArguments.push({ name, kind, value: this.next(arg) });
        return true;
      }
      case '--arg-from-stdin':
        this.autoArguments.push({ name: this.next(arg), kind: 'file', value: '/dev/stdin' });
        return true;
      case '--include':
      case '-I':
        this.includes.push(parseSearchPathEntry(this.next(arg)));
        return true;
      case '--impure':
        this.settings.pureEval = false;
        return true;
      case '-j':
      case '--log-format':
      case '--eval-store':
        this.next(arg);
        return true;
      default:
        if (arg.startsWith('-I') && arg.length > 2) {
          this.includes.push(parseSearchPathEntry(arg.slice(2)));
          return true;
        }
        return false;
    }
  }

  private readSetting(arg: string): boolean {
    if (arg === '--option') {
      const name = this.next(arg);
      applySetting(this.settings, name, this.next(arg));
      return true;
    }
    if (!arg.startsWith('--')) return false;
    const name = arg.slice(2);
    if (isSwitch(name)) applySetting(this.settings, name, 'true');
    else if (name.startsWith('no-') && isSwitch(name.slice(3))) {
      applySetting(this.settings, name.slice(3), 'false');
    } else if (isSetting(name)) applySetting(this.settings, name, this.next(arg));
    else return false;
    return true;
  }

  /** Those of `nix build` for the lock file of a flake. Without `--lock-flake` it is not written. */
  private readLocking(arg: string): boolean {
    switch (arg) {
      case '--lock-flake':
        this.lockFlake({ mode: parseLockMode(this.next(arg)) });
        return true;
      case '--recreate-lock-file':
        this.lockFlake({ recreate: true });
        return true;
      case '--update-input':
        this.lockFlake({ updates: [...(this.settings.flakeLock?.updates ?? []), this.next(arg)] });
        return true;
      case '--override-input': {
        const override = [this.next(arg), this.next(arg)] as const;
        this.lockFlake({ overrides: [...(this.settings.flakeLock?.overrides ?? []), override] });
        return true;
      }
      case '--commit-lock-file':
        this.lockFlake({ commit: true });
        return true;
    }
    return false;
  }

  private lockFlake(locking: Partial<FlakeLocking>): void {
    this.settings.flakeLock = { mode: 'keep', ...this.settings.flakeLock, ...locking };
  }

  goal(): EvaluationGoal {
    switch (this.mode) {
      case 'find-file':
        return { kind: 'find-file', names: this.files };
      case 'parse':
        return { kind: 'parse' };
      case 'eval':
        return { kind: 'print', format: this.format, strict: this.strict, location: this.location };
      case 'instantiate':
        return { kind: 'instantiate' };
    }
  }

  sources(readStandardInput: () => string): ExpressionSource[] {
    const sources: ExpressionSource[] = [];
    if (this.standardInput) sources.push({ kind: 'stdin', text: readStandardInput() });
    else if (this.files.length === 0 && !this.fromText && this.mode !== 'find-file') {
      sources.push({ kind: 'file', path: './default.nix' });
    }
    if (this.mode === 'find-file') return sources;
    for (const file of this.files) {
      sources.push(this.fromText ? { kind: 'text', text: file } : { kind: 'file', path: file });
    }
    return sources;
  }
}

/** The search path of the environment, or Nix's own where there is none. */
function environmentSearchPath(
  surroundings: CommandSurroundings,
  settings: MutableSettings,
): SearchPathEntry[] {
  if (settings.pureEval) return [];
  const given = surroundings.environment.NIX_PATH;
  if (given !== undefined) return parseNixPath(given);
  const configured = surroundings.configuration.findLast(([name]) => name === 'nix-path');
  if (configured !== undefined) {
    return configured[1]
      .split(/\s+/)
      .filter((entry) => entry !== '')
      .map(parseSearchPathEntry);
  }
  if (settings.restrictEval) return [];
  const profiles = '/nix/var/nix/profiles/per-user/root/channels';
  const usual = [
    { prefix: '', path: `${surroundings.home}/.nix-defexpr/channels` },
    { prefix: 'nixpkgs', path: `${profiles}/nixpkgs` },
    { prefix: '', path: profiles },
  ];
  return usual.filter(({ path }) => existsSync(path));
}

/**
 * Reads the command line of `nix-instantiate`.
 * @throws LarderError `usage` for what it does not understand.
 */
export function parseInstantiateArguments(
  args: readonly string[],
  surroundings: CommandSurroundings,
): EvaluationRequest {
  const settings = defaultSettings();
  for (const [name, value] of surroundings.configuration) applySetting(settings, name, value);
  const reader = new ArgumentReader(args, settings);
  reader.read();
  const goal = reader.goal();
  return {
    goal,
    sources: reader.sources(() => surroundings.readStandardInput()),
    attrPaths: reader.attrPaths.length === 0 ? [''] : reader.attrPaths,
    arguments: reader.autoArguments,
    searchPath: [...reader.includes, ...environmentSearchPath(surroundings, settings)],
    settings,
    readOnly: reader.dryRun || (goal.kind !== 'instantiate' && !reader.readWrite),
    addRoot: reader.addRoot,
    storeDir: surroundings.storeDir,
    realStoreDir: surroundings.realStoreDir,
    environment: surroundings.environment,
    home: surroundings.home,
    workingDirectory: surroundings.workingDirectory,
  };
}
