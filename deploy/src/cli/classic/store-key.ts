import { writeFileSync } from 'node:fs';
import { SecretKey } from '@larder/signing/key';
import { usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { readFlags } from './store-flags.js';

/** `nix-store --generate-binary-cache-key`: both halves go to files, the secret one for its owner alone. */
export async function generateKey(_: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  if (args.length !== 3) throw usageError('three arguments expected');
  const [name, secretFile, publicFile] = args as [string, string, string];
  const key = SecretKey.generate(name);
  writeFileSync(publicFile, key.publicKey().format());
  writeFileSync(secretFile, key.format(), { mode: 0o600 });
  return 0;
}
