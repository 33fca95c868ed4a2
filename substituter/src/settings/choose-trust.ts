import { LarderError } from '@larder/signing/errors';
import { type Trust, TrustedKeys } from '@larder/signing/trust';
import { findTrustPolicyFile } from '../config.js';
import type { Settings } from './settings.js';

/** What the command line says of trust. */
export interface TrustChoice {
  readonly trustedPublicKeys?: readonly string[];
  /** A file. */
  readonly policy?: string;
}

/**
 * Whose signatures count: the keys or the policy of the command line, else the policy of the user or the system, else
 * the keys of nix.conf.
 * @throws `usage`, `key-malformed`, `trust-policy-invalid`
 */
export async function chooseTrust(
  settings: Settings,
  { trustedPublicKeys, policy }: TrustChoice = {},
): Promise<Trust> {
  if (trustedPublicKeys !== undefined) {
    if (policy === undefined) return TrustedKeys.parse(trustedPublicKeys);
    throw new LarderError('usage', 'give either --policy or --trusted-public-keys');
  }
  const file = policy ?? findTrustPolicyFile();
  const keys = settings.get('trusted-public-keys');
  if (file === undefined) return TrustedKeys.parse(keys);
  // Most machines have no policy: they are spared its reader.
  const { readTrustPolicy } = await import('./trust-policy-file.js');
  return readTrustPolicy(file, keys);
}
