import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBase32 } from '@larder/signing/base32';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import { defaultStoreDir } from '../store-dir.js';
import { SeededRandom } from './random.js';

/** A store object to be: a tree on disk, and the store paths that its contents mention. */
export interface ClosureObject {
  readonly storePath: StorePath;
  /** The directory with its contents. */
  readonly tree: string;
  /** Sorted. */
  readonly references: readonly StorePath[];
  readonly deriver: StorePath;
}

export interface ClosureOptions {
  readonly seed: string;
  /** How many paths. Default 12. */
  readonly paths?: number;
  /** How many bytes of contents, all paths together. Default 200 kB. */
  readonly bytes?: number;
  /** Gives the same closure other store hashes, as when the lowest of it was built anew: nothing else differs. */
  readonly rebuild?: string;
}

/**
 * Makes a closure of store objects below `directory`, references first; the last object reaches all others. Sizes
 * spread as in real closures: a few paths hold most of the bytes. Half of the bytes compress.
 */
export async function makeClosure(
  directory: string,
  options: ClosureOptions,
): Promise<readonly ClosureObject[]> {
  const { seed, paths = 12, bytes = 200_000, rebuild = '' } = options;
  const random = new SeededRandom(seed);
  const sizes = spreadSizes({ random, paths, bytes });
  const objects: ClosureObject[] = [];
  const unreferenced = new Set<StorePath>();
  for (const [index, size] of sizes.entries()) {
    const last = index === sizes.length - 1;
    const references = last ? [...unreferenced] : pickReferences(random, objects);
    const object = makeObject({ random, index, directory, references, rebuild });
    await writeTree({ object, random, size });
    for (const reference of references) unreferenced.delete(reference);
    unreferenced.add(object.storePath);
    objects.push(object);
  }
  return objects;
}

/** Sizes from a log-normal distribution, scaled to the total. */
function spreadSizes({
  random,
  paths,
  bytes,
}: {
  random: SeededRandom;
  paths: number;
  bytes: number;
}): number[] {
  const weights = Array.from({ length: paths }, () => Math.exp(2 * normal(random)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => Math.round((weight / total) * bytes));
}

function normal(random: SeededRandom): number {
  return Math.sqrt(-2 * Math.log(1 - random.fraction())) * Math.cos(2 * Math.PI * random.fraction());
}

/** Up to six earlier paths, the recent and the very first (a libc, say) more often. */
function pickReferences(random: SeededRandom, objects: readonly ClosureObject[]): StorePath[] {
  const picked = new Set<StorePath>();
  const count = Math.min(objects.length, random.below(7));
  for (let pick = 0; pick < count; pick += 1) {
    const index = pick === 0 ? 0 : Math.floor(objects.length * Math.sqrt(random.fraction()));
    const object = objects[index];
    if (object !== undefined) picked.add(object.storePath);
  }
  return [...picked];
}

interface ObjectPlan {
  readonly random: SeededRandom;
  readonly index: number;
  readonly directory: string;
  readonly references: readonly StorePath[];
  readonly rebuild: string;
}

function makeObject({ random, index, directory, references, rebuild }: ObjectPlan): ClosureObject {
  const name = `package-${index}-1.${random.below(20)}`;
  const hash = random.bytes(20);
  const storeHash = rebuild === '' ? hash : createHash('sha1').update(rebuild).update(hash).digest();
  const storePath = parseStorePath(`${formatBase32(storeHash)}-${name}`);
  const self = random.fraction() < 0.5 ? [storePath] : [];
  return {
    storePath,
    tree: join(directory, storePath),
    references: [...references, ...self].sort(),
    deriver: parseStorePath(`${formatBase32(random.bytes(20))}-${name}.drv`),
  };
}

interface TreePlan {
  readonly object: ClosureObject;
  readonly random: SeededRandom;
  readonly size: number;
}

async function writeTree({ object: { tree, references }, random, size }: TreePlan): Promise<void> {
  const full = references.map((reference) => defaultStoreDir.format(reference));
  for (const folder of ['bin', 'lib', 'share/doc']) await mkdir(join(tree, folder), { recursive: true });
  const program = ['#!/bin/sh', ...full.map((path) => `. ${path}/lib/library`), 'exit 0', ''].join('\n');
  await writeFile(join(tree, 'bin/program'), program, { mode: 0o755 });
  await symlink('program', join(tree, 'bin/alias'));
  for (const [index, path] of full.entries())
    await symlink(`${path}/lib`, join(tree, `lib/dependency-${index}`));
  await writeFile(join(tree, 'share/doc/empty'), '');
  // Half of the bytes in one library that does not compress, half in texts that do.
  await writeFile(join(tree, 'lib/library'), random.bytes(Math.floor(size / 2)));
  const texts = 1 + random.below(8);
  const textSize = Math.ceil(size / 2 / texts);
  for (let text = 0; text < texts; text += 1) {
    await writeFile(join(tree, `share/doc/text-${text}`), random.words(textSize));
  }
}
