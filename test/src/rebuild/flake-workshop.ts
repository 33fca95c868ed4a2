import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Larder } from '../larder/larder.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';

const features = ['--extra-experimental-features', 'nix-command flakes'];

/** Flakes in a scratch directory, locked by stock Nix or by Larder, each with a store of its own. */
export class Workshop implements AsyncDisposable {
  readonly larder: Larder;

  private constructor(larder: Larder) {
    this.larder = larder;
  }

  /** Opens one: `await using shop = await Workshop.open()`. */
  static async open(): Promise<Workshop> {
    return new Workshop(await Larder.create());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.larder[Symbol.asyncDispose]();
  }

  path(name: string): string {
    return this.larder.scratch.join(name);
  }

  /** Writes a flake, or anything else; as a git repository with one commit if `git` says so. */
  async write(name: string, files: Readonly<Record<string, string>>, { git = false } = {}): Promise<void> {
    await mkdir(this.path(name), { recursive: true });
    for (const [file, text] of Object.entries(files)) await writeFile(`${this.path(name)}/${file}`, text);
    if (!git) return;
    await this.git(name, 'init', '-q', '-b', 'trunk');
    await this.git(name, 'config', 'user.name', 't');
    await this.git(name, 'config', 'user.email', 't@example.org');
    await this.commit(name);
  }

  async commit(name: string): Promise<void> {
    await this.git(name, 'add', '-A');
    await this.git(name, 'commit', '-q', '-m', 'all');
  }

  async git(name: string, ...args: readonly string[]): Promise<string> {
    const { env } = this.larder;
    return (await runProgram('git', ['-C', this.path(name), ...args], { env })).toString();
  }

  async lockByNix(name: string): Promise<string> {
    await this.nixFlake('lock', `path:${this.path(name)}`);
    return this.lock(name);
  }

  /** `nix flake …`, of stock Nix; gives what it said. */
  async nixFlake(...words: readonly string[]): Promise<string> {
    const args = [...features, 'flake', ...words, '--store', this.path('nix')];
    const { status, stderr } = await tryProgram('nix', args, { env: this.larder.env });
    assert.equal(status, 0, stderr);
    return stderr;
  }

  lock(name: string): Promise<string> {
    return readFile(`${this.path(name)}/flake.lock`, 'utf8');
  }

  rebuild(reference: string, ...more: readonly string[]): Promise<ProgramResult> {
    const where = ['--root', this.path('larder'), '--option', 'substituters', ''];
    return this.larder.try(['rebuild', 'dry-build', '--flake', `${reference}#web`, ...where, ...more]);
  }

  /** Has `larder instantiate` lock and evaluate a flake: unlike a rebuild, it writes inputs from elsewhere too. */
  instantiate(reference: string, ...more: readonly string[]): Promise<ProgramResult> {
    const expression = `(builtins.getFlake "${reference}").nixosConfigurations.web.config.system.build.toplevel`;
    const configuration = `store = ${this.path('larder')}\nexperimental-features = flakes`;
    const env = { ...this.larder.env, NIX_CONFIG: configuration };
    return this.larder.try(['instantiate', '--expr', expression, ...more], { env });
  }
}

/** A flake with a system that is never built, which depends on what its inputs say. */
export const flake = (inputs: string, named: string): string => `{
  inputs = { ${inputs} };
  outputs = { self, ${named} ... }@inputs: {
    nixosConfigurations.web.config.system.build.toplevel = derivation {
      name = "system-web";
      system = "x86_64-linux";
      builder = "/bin/none";
      inputs = map (name: inputs.\${name}.outPath) (builtins.filter (name: name != "self") (builtins.attrNames inputs));
    };
  };
}
`;
