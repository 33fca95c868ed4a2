import type { Derivation } from '@larder/signing/derivation';
import type { NarInfo } from '@larder/signing/narinfo';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { FoundPath } from '@larder/substituter/source-set';
import { DerivationOptions } from '../derivation/derivation-options.js';
import { readDerivation } from '../derivation/read-derivation.js';
import type { OutputKnowledge } from './output-knowledge.js';
import type { RealisationSource } from './realisation-source.js';
import type { Substituter } from './substituter.js';
import { type Target, targetKey } from './targets.js';

/** What realising some targets takes. */
export interface Plan {
  /** Inputs before what needs them. */
  readonly build: readonly StorePath[];
  /** References first. */
  readonly fetch: readonly FoundPath[];
  /** Paths that are in no cache and have no derivation. */
  readonly unknown: readonly StorePath[];
  /** Paths that are in no cache, though caches have others that refer to them: those others are built. */
  readonly incomplete: readonly StorePath[];
  /** Bytes to download, as far as caches say, and of unpacked NARs. */
  readonly downloadSize: number;
  readonly unpackedSize: number;
}

/** What a plan is made with. */
export interface PlanMeans {
  readonly store: LocalStore;
  readonly knowledge: OutputKnowledge;
  readonly substituter: Substituter | undefined;
  readonly realisations: RealisationSource | undefined;
}

/**
 * Finds out what there is to do, from the targets down: what a cache has is not looked behind. All that can be
 * asked at a time is.
 */
export async function makePlan(targets: readonly Target[], means: PlanMeans): Promise<Plan> {
  const planner = new Planner(means);
  await Promise.all(targets.map((target) => planner.add(target)));
  return planner.plan();
}

class Planner {
  readonly #means: PlanMeans;
  readonly #store: LocalStore;
  readonly #seen = new Set<string>();
  readonly #build = new Map<StorePath, Derivation>();
  readonly #fetch = new Map<StorePath, FoundPath>();
  readonly #unknown = new Set<StorePath>();
  readonly #incomplete = new Set<StorePath>();

  constructor(means: PlanMeans) {
    this.#means = means;
    this.#store = means.store;
  }

  async add(target: Target): Promise<void> {
    if (target.type === 'path') await this.#addPath(target.path);
    else await this.#addDerivation(target.path, target.outputs);
  }

  plan(): Plan {
    const fetch = [...this.#fetch.values()];
    const sizes = fetch.map(({ info }) => (info as Partial<NarInfo>).fileSize ?? 0);
    return {
      build: this.#sortBuilds(),
      fetch,
      unknown: [...this.#unknown].sort(),
      incomplete: [...this.#incomplete].sort(),
      downloadSize: sizes.reduce((sum, size) => sum + size, 0),
      unpackedSize: fetch.reduce((sum, { info }) => sum + info.narSize, 0),
    };
  }

  async #addPath(path: StorePath): Promise<void> {
    if (this.#seen.has(path)) return;
    this.#seen.add(path);
    if ((await this.#store.queryMissing([path])).size === 0) return;
    if (!(await this.#canFetch([path]))) this.#unknown.add(path);
  }

  async #addDerivation(path: StorePath, outputs: readonly string[] | undefined): Promise<void> {
    const key = targetKey(path, outputs);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if ((await this.#store.queryMissing([path])).size > 0) {
      await this.#addPath(path);
      return;
    }
    const derivation = readDerivation(this.#store, path);
    const known = await this.#means.knowledge.query(path, derivation);
    const wanted = [...known].filter(([name]) => outputs === undefined || outputs.includes(name));
    if (wanted.every(([, { valid }]) => valid)) return;
    const invalid = wanted.flatMap(([, { path: output, valid }]) =>
      valid || output === undefined ? [] : [output],
    );
    const unknown = wanted.filter(([, output]) => output.path === undefined).map(([name]) => name);
    const found = unknown.length === 0 ? [] : await this.#findRealised(path, unknown);
    const mayFetch = found !== undefined && new DerivationOptions(derivation).allowsSubstitutes;
    if (mayFetch && (await this.#canFetch([...invalid, ...found]))) return;
    await this.#mustBuild(path, derivation);
  }

  /** What outputs came out as whose paths only a build gives, as far as caches tell. */
  async #findRealised(path: StorePath, names: readonly string[]): Promise<StorePath[] | undefined> {
    const { knowledge, realisations } = this.#means;
    const ids = knowledge.ids(path);
    if (ids === undefined || realisations === undefined) return undefined;
    const found = await realisations.findAll(names.map((name) => ids.get(name)!));
    return found?.map(({ outPath }) => outPath);
  }

  async #mustBuild(path: StorePath, derivation: Derivation): Promise<void> {
    this.#build.set(path, derivation);
    await Promise.all([
      ...[...derivation.inputDerivations].map(([input, names]) => this.#addDerivation(input, [...names])),
      ...[...derivation.inputSources].map((source) => this.#addPath(source)),
    ]);
  }

  async #canFetch(paths: readonly StorePath[]): Promise<boolean> {
    const closure = await this.#means.substituter?.queryClosure(paths, (missing) =>
      this.#incomplete.add(missing),
    );
    if (closure === undefined) return false;
    for (const found of closure) this.#fetch.set(found.info.storePath, found);
    return true;
  }

  #sortBuilds(): StorePath[] {
    const sorted = new Set<StorePath>();
    const visit = (path: StorePath): void => {
      const derivation = this.#build.get(path);
      if (derivation === undefined || sorted.has(path)) return;
      for (const input of [...derivation.inputDerivations.keys()].sort()) visit(input);
      sorted.add(path);
    };
    for (const path of [...this.#build.keys()].sort()) visit(path);
    return [...sorted];
  }
}
