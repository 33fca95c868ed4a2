import type { AttrsExpr, Expr } from './ast.js';
import { type Attrs, AttrsBuilder } from './attrs.js';
import { type BaseScope, baseScope, bindVariables, innerScope, type Scope } from './bind.js';
import { allBuiltins } from './builtins/index.js';
import { derivationSource, fetchurlSource, importedDerivationSource } from './builtins/internal-sources.js';
import { delayed } from './call.js';
import { compile } from './compile.js';
import { NixError, traced } from './errors.js';
import { formatErrorAsWarning } from './format-error.js';
import type { Host } from './host.js';
import { type EvalSettings, type Importer, machine } from './machine.js';
import { cursedOrWarning, type ParseOptions, parseBindings, parseSource } from './parser.js';
import { formatPosition, noPos, type Origin, sourceBetween } from './positions.js';
import type { SearchPathEntry } from './search-path-entry.js';
import { intern } from './symbols.js';
import { type Env, force, type Slot, type Thunk, type Value } from './values.js';
import { languageVersion } from './versions.js';

const corepkgs = '/__corepkgs__/';

/** The directory a path is in. */
function parentDirectory(path: string): string {
  const end = path.lastIndexOf('/');
  return end <= 0 ? '/' : path.slice(0, end);
}

/** What an evaluation is made of. */
export interface EvaluatorOptions {
  readonly host: Host;
  readonly settings: EvalSettings;
  readonly searchPath: readonly SearchPathEntry[];
}

/**
 * Parses and evaluates Nix expressions. One evaluator is in use at a time in a thread: making one puts it in
 * charge of `machine`.
 */
export class Evaluator implements Importer {
  readonly searchPath: readonly SearchPathEntry[];
  readonly scope: Scope;
  private readonly host: Host;
  private readonly settings: EvalSettings;
  private readonly base: Map<number, Slot>;
  private readonly files = new Map<string, Thunk>();
  private readonly resolvedPaths = new Map<string, string>();
  private readonly internal = new Map<string, Slot>();

  constructor(options: EvaluatorOptions) {
    this.host = options.host;
    this.settings = options.settings;
    this.searchPath = options.searchPath;
    machine.host = options.host;
    machine.settings = options.settings;
    machine.importer = this;
    machine.depth = 0;
    machine.maxDepth = options.settings.maxCallDepth;
    machine.showTrace = options.settings.showTrace;
    machine.flakeLock = options.settings.flakeLock;
    this.base = new Map();
    this.scope = baseScope(this.base as BaseScope);
    this.fillBase();
  }

  private fillBase(): void {
    const builtins = new AttrsBuilder();
    const put = (globalName: string, value: Slot): void => {
      this.base.set(intern(globalName), value);
      builtins.add(intern(globalName.replace(/^__/, '')), value);
    };
    const { settings, host } = this;
    put('true', true);
    put('false', false);
    put('null', null);
    if (!settings.pureEval) {
      put(
        '__currentTime',
        delayed(() => host.currentTime()),
      );
      put('__currentSystem', settings.currentSystem);
    }
    put('__nixVersion', languageVersion);
    put('__storeDir', host.storeDir);
    put('__langVersion', 6);
    put(
      '__nixPath',
      this.searchPath.map(({ prefix, path }) =>
        new AttrsBuilder().add(intern('path'), path).add(intern('prefix'), prefix).finish(),
      ),
    );
    for (const { globalName, primop } of allBuiltins()) {
      if (this.isEnabled(primop.name)) put(globalName, primop);
    }
    put(
      'derivation',
      delayed(() => this.evaluateInternal('derivation-internal.nix', derivationSource)),
    );
    this.internal.set(
      '__importedDrvToDerivation',
      delayed(() => this.evaluateInternal('imported-drv-to-derivation.nix', importedDerivationSource)),
    );
    const self: Slot = delayed(() => all);
    builtins.add(intern('builtins'), self);
    const all: Attrs = builtins.finish();
    this.base.set(intern('builtins'), all);
  }

  private isEnabled(name: string): boolean {
    const { experimentalFeatures } = this.settings;
    if (name === 'fetchTree')
      return experimentalFeatures.has('fetch-tree') || experimentalFeatures.has('flakes');
    if (name === 'getFlake' || name === 'parseFlakeRef' || name === 'flakeRefToString') {
      return experimentalFeatures.has('flakes');
    }
    return true;
  }

  private evaluateInternal(name: string, source: string): Value {
    const origin: Origin = { kind: 'internal', path: name, source: () => source };
    return this.evaluateExpr(this.parse(source, origin, '/'));
  }

  private parseOptions(basePath: string): ParseOptions {
    const { settings, host } = this;
    return {
      basePath,
      home: settings.pureEval ? undefined : host.home(),
      pipeOperators: settings.experimentalFeatures.has('pipe-operators'),
      lintUrlLiterals: settings.lintUrlLiterals,
      lintShortPathLiterals: settings.lintShortPathLiterals,
      lintAbsolutePathLiterals: settings.lintAbsolutePathLiterals,
      warn: (warning) => host.log(formatErrorAsWarning(warning)),
      warnOr: (start, end) => {
        const text = cursedOrWarning(formatPosition(start), sourceBetween(start, end));
        host.log(`warning: ${text}`);
      },
    };
  }

  /** Parses a source (bytes) and binds its variables. */
  parse(source: string, origin: Origin, basePath: string, scope: Scope = this.scope): Expr {
    const expr = parseSource(source, origin, this.parseOptions(basePath));
    bindVariables(expr, scope);
    return expr;
  }

  /** Parses definitions as typed at a prompt; variables are bound in `scope`. */
  parseDefinitions(source: string, basePath: string, scope: Scope): AttrsExpr {
    const origin: Origin = { kind: 'string', source: () => source };
    const expr = parseBindings(source, origin, this.parseOptions(basePath));
    bindVariables(expr, scope);
    return expr;
  }

  parseFile(path: string, scope: Scope = this.scope): Expr {
    const source = path.startsWith(corepkgs)
      ? this.corePackage(path)
      : this.host.readFile(this.host.resolveSymlinks(path));
    const origin: Origin = { kind: 'file', path, source: () => this.sourceOf(path) };
    return this.parse(source, origin, parentDirectory(path), scope);
  }

  private sourceOf(path: string): string | undefined {
    try {
      return path.startsWith(corepkgs) ? this.corePackage(path) : this.host.readFile(path);
    } catch {
      return undefined;
    }
  }

  private corePackage(path: string): string {
    const name = path.slice(corepkgs.length);
    if (name === 'fetchurl.nix') return fetchurlSource;
    if (name === 'derivation-internal.nix') return derivationSource;
    throw new NixError('other', `path '${path}' does not exist`);
  }

  parseText(source: string, basePath: string, scope: Scope = this.scope): Expr {
    return this.parse(source, { kind: 'string', source: () => source }, basePath, scope);
  }

  parseStdin(source: string, basePath: string): Expr {
    return this.parse(source, { kind: 'stdin', source: () => source }, basePath);
  }

  /** The value of a parsed expression. */
  evaluateExpr(expr: Expr, env: Env = []): Value {
    return compile(expr)(env);
  }

  evaluateText(source: string, basePath: string): Value {
    return this.evaluateExpr(this.parseText(source, basePath));
  }

  /** The file that importing a path reads: symlinks followed, and `default.nix` for a directory. */
  resolveExprPath(path: string, addDefault = true): string {
    if (path.startsWith(corepkgs)) return path;
    const { host } = this;
    let current = path;
    for (let follow = 0; ; follow++) {
      if (follow >= 1024) {
        throw new NixError(
          'other',
          `too many symbolic links encountered while traversing the path '${path}'`,
        );
      }
      const full = current === '/' ? '/' : host.resolveSymlinks(current, true);
      const type = host.fileType(full);
      if (type === undefined) throw new NixError('other', `path '${current}' does not exist`);
      if (type !== 'symlink') {
        const isDirectory = addDefault && host.fileType(host.resolveSymlinks(current)) === 'directory';
        return isDirectory ? `${current === '/' ? '' : current}/default.nix` : current;
      }
      const target = host.readLink(full);
      current = joinPath(parentDirectory(current), target);
    }
  }

  importFile(path: string): Value {
    let file = this.resolvedPaths.get(path);
    if (file === undefined) {
      file = this.resolveExprPath(path);
      this.resolvedPaths.set(path, file);
    }
    let thunk = this.files.get(file);
    if (thunk === undefined) {
      thunk = delayed(() => this.evaluateFile(file));
      this.files.set(file, thunk);
    }
    return thunk.force(noPos);
  }

  private evaluateFile(file: string): Value {
    const expr = this.parseFile(file);
    try {
      return this.evaluateExpr(expr);
    } catch (error) {
      throw traced(error, noPos, `while evaluating the file '${file}':`);
    }
  }

  importScoped(path: string, scope: Attrs): Value {
    const inner = innerScope(this.scope, scope.shape.ids);
    const expr = this.parseFile(this.resolveExprPath(path), inner);
    return this.evaluateExpr(expr, [[], ...scope.values]);
  }

  builtin(name: string): Slot {
    const internal = this.internal.get(name);
    if (internal !== undefined) return internal;
    const all = force(this.base.get(intern('builtins'))!) as Attrs;
    const found = all.get(intern(name));
    if (found === undefined) throw new NixError('eval', `builtin '${name}' not found`);
    return found;
  }

  /** Forgets files, so that they are read again. */
  forgetFiles(): void {
    this.files.clear();
    this.resolvedPaths.clear();
  }
}

function joinPath(base: string, target: string): string {
  const parts: string[] = [];
  for (const part of (target.startsWith('/') ? target : `${base}/${target}`).split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return `/${parts.join('/')}`;
}
