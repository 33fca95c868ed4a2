import { existsSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import { neutralEnvironment, sharedDirectory } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';

const example = fileURLToPath(new URL('../../../deploy/example', import.meta.url));

/** The executable, for tests that start it themselves. */
export const larder = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

/** The configuration that the example promises to work, word for word. */
export const basicSettings = [
  'boot.loader.grub.device = "/dev/sda";',
  'fileSystems."/".device = "/dev/sda1";',
  'services.sshd.enable = true;',
];

/** Whether the example system can be built here; skips the test where not. */
export function needsExample(test: { skip(reason?: string): void }): boolean {
  return (['nix', 'sandbox', 'example'] as const).every((name) => needsComponent(test, name));
}

/** A machine's file system below a scratch directory, with the example system's configuration. */
export class Machine implements AsyncDisposable {
  readonly scratch: Scratch;
  /** The machine's `/`. */
  readonly root: string;
  readonly configuration: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #sources: string;

  private constructor(scratch: Scratch, sources: string) {
    this.scratch = scratch;
    this.root = scratch.join('root');
    this.configuration = scratch.join('configuration.nix');
    this.#sources = sources;
    this.env = {
      ...neutralEnvironment(scratch.join('home')),
      XDG_CACHE_HOME: scratch.join('cache'),
      NIX_CONF_DIR: scratch.join('conf'),
    };
  }

  /** Makes an empty machine: nothing in its store, no generation. */
  static async create(settings: readonly string[] = basicSettings): Promise<Machine> {
    const sources = `${example}/sources`;
    await runProgram(process.execPath, [`${example}/sources.mjs`, sources], { env: neutralEnvironment('/') });
    const scratch = await makeScratch('machine');
    for (const folder of ['root', 'home', 'conf', 'work']) await mkdir(scratch.join(folder));
    const machine = new Machine(scratch, sources);
    const conf = ['sandbox = true', 'build-users-group =', 'substituters =', 'fsync-metadata = false'];
    await writeFile(scratch.join('conf/nix.conf'), `${conf.join('\n')}\n`);
    await machine.configure(settings);
    return machine;
  }

  /**
   * The same, with the system of `basicSettings` in its store already, and what it was built from: for tests that are not
   * about that.
   */
  static async prepare(settings: readonly string[] = basicSettings): Promise<Machine> {
    const machine = await Machine.create(settings);
    await runProgram('cp', ['-a', `${await preparedRoot()}/.`, machine.root]);
    return machine;
  }

  /** Rewrites configuration.nix, one setting a line from its second line on. */
  async configure(settings: readonly string[], head = ''): Promise<void> {
    await writeFile(this.configuration, `${head}{\n${settings.join('\n')}\n}\n`);
  }

  /** Where the evaluator finds the example and its parts. */
  get searchPath(): readonly string[] {
    return [`nixpkgs=${example}`, `nixos-config=${this.configuration}`, `larder-sources=${this.#sources}`];
  }

  /** The words after `larder rebuild`, with where everything is. */
  rebuildArguments(args: readonly string[]): string[] {
    const include = this.searchPath.flatMap((entry) => ['-I', entry]);
    return [larder, 'rebuild', ...args, '--root', this.root, ...include];
  }

  /** `larder rebuild …`, which must succeed: its standard output, the last newline off. */
  async rebuild(...args: readonly string[]): Promise<string> {
    const options = { env: this.env, cwd: this.scratch.join('work') };
    return (await runProgram(process.execPath, this.rebuildArguments(args), options))
      .toString()
      .replace(/\n$/, '');
  }

  /** The same, for what may fail and for what it says on standard error. */
  tryRebuild(...args: readonly string[]): Promise<ProgramResult> {
    const options = { env: this.env, cwd: this.scratch.join('work') };
    return tryProgram(process.execPath, this.rebuildArguments(args), options);
  }

  /** Where a path of the machine is here. */
  path(logical: string): string {
    return `${this.root}${logical}`;
  }

  /** The number and the system of the profile's current generation. */
  async current(profile = '/nix/var/nix/profiles/system'): Promise<{ number: number; system: string }> {
    const link = await readlink(this.path(profile));
    const number = Number(/-(\d+)-link$/.exec(link)?.[1]);
    return { number, system: await readlink(this.path(`${profile}-${number}-link`)) };
  }

  async grubMenu(): Promise<GrubMenu> {
    return parseGrubMenu(await readFile(this.path('/boot/grub/grub.cfg'), 'utf8'));
  }

  /** The system that was activated last. */
  async running(): Promise<string> {
    return readlink(this.path('/run/current-system'));
  }

  async store(): Promise<readonly string[]> {
    return readdir(this.path('/nix/store'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scratch[Symbol.asyncDispose]();
  }
}

let prepared: Promise<string> | undefined;

/** A machine's `/` in whose store the system of `basicSettings` is: made once for all test files of a run. */
function preparedRoot(): Promise<string> {
  prepared ??= makePreparedRoot();
  return prepared;
}

async function makePreparedRoot(): Promise<string> {
  const shared = sharedDirectory();
  const place = shared === undefined ? undefined : `${shared}/example-root`;
  if (place !== undefined && existsSync(place)) return place;
  const machine = await Machine.create();
  await machine.rebuild('build', '--no-out-link');
  if (place === undefined) {
    process.once('exit', () => rmSync(machine.scratch.path, { recursive: true, force: true }));
    return machine.root;
  }
  // Whole or not at all; another file may have been faster.
  await rename(machine.root, place).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
  await machine[Symbol.asyncDispose]();
  return place;
}

export interface GrubMenu {
  readonly chosen: string;
  readonly entries: readonly {
    readonly id: string;
    readonly title: string;
    readonly kernel: string;
    readonly initrd: string;
    readonly init: string;
  }[];
}

/** Reads what is in a menu as GRUB would; throws on one that is cut off. */
export function parseGrubMenu(text: string): GrubMenu {
  const chosen = /^set default=(\S+)$/m.exec(text)?.[1];
  const entry =
    /menuentry '([^']*)' --id (\S+) \{\n\s+search [^\n]*\n\s+linux (\S+) ([^\n]*)\n\s+initrd (\S+)\n\s*\}/g;
  const entries = [...text.matchAll(entry)].map(([, title, id, kernel, parameters, initrd]) => ({
    id: id!,
    title: title!,
    kernel: kernel!,
    initrd: initrd!,
    init: /(?:^| )init=(\S+)/.exec(parameters!)?.[1] ?? '',
  }));
  const whole = (text.match(/menuentry /g) ?? []).length === entries.length && text.endsWith('}\n\n');
  if (chosen === undefined || !whole) throw new Error(`not a whole menu:\n${text}`);
  return { chosen, entries };
}
