import { signPathInfo } from '@larder/signing/trust';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure } from '../build-failure.js';
import type { BuildContext, BuildJob } from '../build-job.js';
import { type Difference, findDifferences } from './find-differences.js';
import { moveTree } from './move-tree.js';
import type { FinishedOutput } from './store-outputs.js';

/** Differences that a message lists. */
const mostShown = 10;

/**
 * Compares outputs of a second build with those in the store. With `keep-failed`, one that differs is kept beside the
 * other, under `<path>.check` as Nix does.
 * @throws BuildFailure `not-deterministic`, saying in which files and from which byte on
 */
export async function compareOutputs(
  { store, settings }: BuildContext,
  job: BuildJob,
  outputs: readonly FinishedOutput[],
): Promise<void> {
  for (const { file, info } of outputs) {
    const old = await store.queryPathInfo(info.storePath);
    if (old === undefined) continue;
    if (old.narHash.equals(info.narHash)) {
      // Verified by building it: from now on it is trusted as built here.
      if (old.ultimate !== true)
        store.register([{ ...signPathInfo(old, settings.secretKeys, store.storeDir), ultimate: true }]);
      continue;
    }
    const path = store.realPath(info.storePath);
    const differences = findDifferences(file, path, mostShown + 1);
    const kept = settings.keepFailed ? `${path}.check` : undefined;
    if (kept !== undefined) {
      await deleteTree(kept);
      moveTree(file, kept);
    }
    const differs = `output '${path}' differs${kept === undefined ? '' : ` from '${kept}'`}`;
    const derivation = store.storeDir.format(job.path);
    const brief = `derivation '${derivation}' may not be deterministic: ${differs}`;
    throw new BuildFailure('not-deterministic', `${brief}${list(differences, path)}`, {
      ...{ derivation: job.path, path: info.storePath, differences, brief },
    });
  }
}

function list(differences: readonly Difference[], output: string): string {
  const lines = differences
    .slice(0, mostShown)
    .map(({ path, what }) => `\n  ${path === '' ? output : path.slice(1)} ${what}`);
  if (differences.length > mostShown) lines.push('\n  and more');
  return lines.length === 0 ? '' : `:${lines.join('')}`;
}
