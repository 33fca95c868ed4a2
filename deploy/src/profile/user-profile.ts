import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { type AddTarget, addPath } from '@larder/substituter/local-store/add-path';
import type { MachineRoot } from '../activate/machine-root.js';
import { type Generation, Profile } from '../activate/profile.js';
import { withProfileLock } from '../activate/profile-lock.js';
import { makeLinkTree } from './link-tree.js';
import { formatManifest, type ProfileElement, parseManifest } from './manifest.js';

export interface UserProfileContext {
  readonly root: MachineRoot;
  /** Where generations are added; without the right to write it, the daemon. */
  readonly store: AddTarget;
  readonly onWait?: (path: string) => void;
}

/**
 * What a user has installed: a profile whose generations are trees of links, each with the `manifest.json` that says
 * what it was made of. Layout and manifest are those of `nix profile`, which can go on where this stopped.
 */
export class UserProfile {
  readonly path: string;
  readonly #profile: Profile;
  readonly #context: UserProfileContext;

  constructor(path: string, context: UserProfileContext) {
    this.path = path;
    this.#profile = new Profile(path, context.root);
    this.#context = context;
  }

  /** What the current generation has. */
  async elements(): Promise<ProfileElement[]> {
    const current = await this.#profile.current();
    return current === undefined ? [] : this.elementsOf(current);
  }

  async elementsOf({ target }: Generation): Promise<ProfileElement[]> {
    const { root } = this.#context;
    const file = await root.tryResolve(`${target}/manifest.json`);
    if (file !== undefined) return parseManifest(await readFile(root.physical(file), 'utf8'), file);
    if ((await root.tryResolve(`${target}/manifest.nix`)) === undefined) return [];
    throw new LarderError(
      'profile-foreign',
      `${root.physical(this.path)} was made by nix-env: use nix-env with it, or another profile (--profile)`,
    );
  }

  /**
   * Makes a new generation of what `change` gives, and makes it the current one; nothing when it is the same.
   * Other processes wait meanwhile, so no change is lost.
   */
  async change(
    change: (
      elements: readonly ProfileElement[],
    ) => readonly ProfileElement[] | Promise<readonly ProfileElement[]>,
  ): Promise<Generation | undefined> {
    const { root, onWait } = this.#context;
    return withProfileLock(root, this.#profile, { onWait }, async () => {
      const elements = await change(await this.elements());
      const target = await this.#build(elements);
      const before = await this.#profile.current();
      if (before?.target === target) return undefined;
      const generation = await this.#profile.add(target);
      await this.#profile.switchTo(generation);
      return generation;
    });
  }

  async rollBack(to?: number): Promise<Generation> {
    const { root, onWait } = this.#context;
    return withProfileLock(root, this.#profile, { onWait }, async () => {
      const generation = to === undefined ? await this.#profile.previous() : await this.#profile.get(to);
      await this.#profile.switchTo(generation);
      return generation;
    });
  }

  async generations(): Promise<Generation[]> {
    return this.#profile.list();
  }

  async currentNumber(): Promise<number | undefined> {
    return this.#profile.currentNumber();
  }

  async #build(elements: readonly ProfileElement[]): Promise<string> {
    const { root, store } = this.#context;
    const directory = await mkdtemp(join(tmpdir(), 'larder-profile-'));
    try {
      const tree = join(directory, 'profile');
      const sources = elements.flatMap(({ storePaths, priority }) =>
        storePaths.map((path) => ({ path, priority })),
      );
      await makeLinkTree(root, sources, tree);
      await writeFile(join(tree, 'manifest.json'), formatManifest(elements));
      const references = [...new Set(sources.map(({ path }) => store.storeDir.parse(path)))];
      const { storePath } = await addPath(store, tree, { name: 'profile', references });
      return store.storeDir.format(storePath);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}
