import type { StorePath } from '@larder/signing/store-path';
import type { PathSource } from '@larder/substituter/store';

/** The paths and all they refer to, as far as the store knows them; what it lacks is for the caller to notice. */
export async function referenceClosure(
  source: PathSource,
  roots: readonly StorePath[],
  signal: AbortSignal,
): Promise<StorePath[]> {
  const seen = new Set(roots);
  for (const path of seen) {
    const info = await source.queryPathInfo(path, { signal });
    for (const reference of info?.references ?? []) seen.add(reference);
  }
  return [...seen];
}
