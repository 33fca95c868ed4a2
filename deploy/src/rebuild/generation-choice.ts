import { LarderError } from '@larder/signing/errors';
import type { MachineRoot } from '../activate/machine-root.js';
import { type Generation, systemProfile } from '../activate/profile.js';

/**
 * The two generations to compare: `[]` the one before the current one and that; `[A]` A and the current one;
 * `[A, B]` those.
 * @throws `usage`, `generation-absent`
 */
export async function findGenerations(
  root: MachineRoot,
  words: readonly string[],
  profileName?: string,
): Promise<readonly [before: Generation, after: Generation]> {
  const profile = systemProfile(root, profileName);
  const wrong = words.find((word) => !/^[1-9]\d*$/.test(word));
  if (wrong !== undefined || words.length > 2) {
    throw new LarderError(
      'usage',
      `diff takes the numbers of at most two generations, not '${words.join(' ')}'`,
    );
  }
  const [first, second] = words.map(Number);
  const current = await profile.currentNumber();
  const after = await profile.get(second ?? current ?? 1);
  return [first === undefined ? await profile.previous() : await profile.get(first), after];
}
