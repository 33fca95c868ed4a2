import { lstatSync, mkdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { BuildContext } from '../build-job.js';
import { splitWords } from '../derivation/derivation-options.js';
import { LogicalFiles } from './logical-files.js';
import { type BuiltinOptions, requireAttribute } from './run-builtin.js';

interface Package {
  readonly path: string;
  readonly active: boolean;
  readonly priority: number;
}

/** Files that would only clash: each package has its own. */
const leftOut = [
  'propagated-build-inputs',
  'nix-support',
  'perllocal.pod',
  'log',
  'manifest.nix',
  'manifest.json',
];

/** Priorities of packages that others bring along begin here, behind all that users give. */
const firstPropagatedPriority = 1000;

/**
 * `builtin:buildenv`: makes a tree of links to everything in some packages, such as a profile is. Of two files
 * with one name the one with the lower priority number goes in.
 * @throws `buildenv-collision`
 */
export async function buildEnvironmentTree(context: BuildContext, options: BuiltinOptions): Promise<void> {
  const { derivation } = options;
  const out = options.locate('out');
  mkdirSync(out, { recursive: true });
  const tree = new LinkTree(new LogicalFiles(context.store.layout), options.log);
  const packages = parsePackages(requireAttribute(derivation, 'derivations'));
  tree.addPackages(out, packages);
  symlinkSync(requireAttribute(derivation, 'manifest'), `${out}/manifest.nix`);
}

/** Words for each package: whether it is active, its priority, how many outputs, and their paths. */
function parsePackages(text: string): Package[] {
  const words = splitWords(text);
  const packages: Package[] = [];
  for (let at = 0; at < words.length; ) {
    const active = words[at++] !== 'false';
    const priority = Number(words[at++]);
    const count = Number(words[at++]);
    if (!Number.isInteger(priority) || !Number.isInteger(count) || at + count > words.length) {
      throw new LarderError('derivation-invalid', "attribute 'derivations' is not a list of packages");
    }
    for (const path of words.slice(at, at + count)) packages.push({ path, active, priority });
    at += count;
  }
  return packages.sort((a, b) => a.priority - b.priority || (a.path < b.path ? -1 : 1));
}

class LinkTree {
  readonly #files: LogicalFiles;
  readonly #log: (text: string) => void;
  readonly #priorities = new Map<string, number>();
  readonly #done = new Set<string>();
  #postponed = new Set<string>();

  constructor(files: LogicalFiles, log: (text: string) => void) {
    this.#files = files;
    this.#log = log;
  }

  addPackages(out: string, packages: readonly Package[]): void {
    for (const { path, active, priority } of packages) if (active) this.#addPackage(out, path, priority);
    for (let priority = firstPropagatedPriority; this.#postponed.size > 0; ) {
      const paths = [...this.#postponed].sort();
      this.#postponed = new Set();
      for (const path of paths) this.#addPackage(out, path, priority++);
    }
  }

  #addPackage(out: string, path: string, priority: number): void {
    if (this.#done.has(path)) return;
    this.#done.add(path);
    this.#link(path, out, priority);
    const propagated = this.#files.read(`${path}/nix-support/propagated-user-env-packages`) ?? '';
    for (const each of splitWords(propagated)) if (!this.#done.has(each)) this.#postponed.add(each);
  }

  #link(source: string, target: string, priority: number): void {
    const names = this.#files.list(source);
    if (names === undefined) {
      this.#log(`warning: not including '${source}' in the user environment because it's not a directory`);
      return;
    }
    for (const name of names) {
      if (name.startsWith('.') || isLeftOut(source, name)) continue;
      this.#linkEntry(`${source}/${name}`, `${target}/${name}`, priority);
    }
  }

  #linkEntry(source: string, target: string, priority: number): void {
    const status = this.#files.stat(source);
    if (status === undefined) {
      this.#log(`warning: skipping dangling symlink '${target}'`);
      return;
    }
    const present = lstatSync(target, { throwIfNoEntry: false });
    if (present !== undefined) {
      if (status.isDirectory()) {
        this.#mergeDirectory(source, target, { priority, isLink: present.isSymbolicLink() });
        return;
      }
      if (!present.isSymbolicLink()) throw collision(`non-directory '${source}'`, `directory '${target}'`);
      if (!this.#replaces(source, target, priority)) return;
      unlinkSync(target);
    }
    symlinkSync(source, target);
    this.#priorities.set(target, priority);
  }

  /** A directory that two packages have becomes one, with links to what is in both. */
  #mergeDirectory(
    source: string,
    target: string,
    { priority, isLink }: { priority: number; isLink: boolean },
  ): void {
    if (isLink) {
      const first = readlinkSync(target);
      if (!this.#files.stat(first)?.isDirectory()) throw collision(`'${source}'`, `non-directory '${first}'`);
      unlinkSync(target);
      mkdirSync(target, { mode: 0o755 });
      this.#link(this.#files.resolve(first)!, target, this.#priorities.get(target) ?? 0);
    }
    this.#link(source, target, priority);
  }

  #replaces(source: string, target: string, priority: number): boolean {
    const previous = this.#priorities.get(target) ?? 0;
    if (previous !== priority) return previous > priority;
    throw new LarderError(
      'buildenv-collision',
      `packages '${source}' and '${readlinkSync(target)}' have the same priority ${priority}; use 'nix-env ` +
        "--set-flag priority NUMBER INSTALLED_PKGNAME' to change the priority of one of the conflicting packages " +
        '(0 being the highest priority)',
    );
  }
}

function isLeftOut(directory: string, name: string): boolean {
  return leftOut.includes(name) || (name === 'dir' && directory.endsWith('/info'));
}

function collision(one: string, other: string): LarderError {
  return new LarderError('buildenv-collision', `collision between ${one} and ${other}`);
}
