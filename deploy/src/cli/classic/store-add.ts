import { basename } from 'node:path';
import { makeContentAddressedPath } from '@larder/signing/content-address';
import { type HashAlgorithm, hashAlgorithms, isHashAlgorithm, parseHash } from '@larder/signing/hash';
import { addPath } from '@larder/substituter/local-store/add-path';
import { printLines, usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { readFlags } from './store-flags.js';

/** `nix-store --add`. */
export async function add(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  const store = await session.store();
  for (const file of args) {
    const { storePath } = await addPath(store, file, { name: basename(file), signal: session.signal });
    printLines([store.storeDir.format(storePath)]);
  }
  return 0;
}

/** `nix-store --add-fixed`. */
export async function addFixed(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  const method = readFlags(flags, ['--recursive']).size > 0 ? 'recursive' : 'flat';
  const [first, ...files] = args;
  if (first === undefined) throw usageError('first argument must be hash algorithm');
  const algorithm = parseAlgorithm(first);
  const store = await session.store();
  for (const file of files) {
    const { signal } = session;
    const { storePath } = await addPath(store, file, { name: basename(file), method, algorithm, signal });
    printLines([store.storeDir.format(storePath)]);
  }
  return 0;
}

/** `nix-store --print-fixed-path`. */
export async function printFixedPath(
  session: ToolSession,
  { flags, args }: OperationRequest,
): Promise<number> {
  const method = readFlags(flags, ['--recursive']).size > 0 ? 'recursive' : 'flat';
  if (args.length !== 3) throw usageError("'--print-fixed-path' requires three arguments");
  const [algorithm, digest, name] = args as [string, string, string];
  const { storeDir } = session.layout;
  const hash = parseHash(digest, parseAlgorithm(algorithm));
  printLines([storeDir.format(makeContentAddressedPath(storeDir, name, { method, hash }))]);
  return 0;
}

/** @throws `usage` */
export function parseAlgorithm(text: string): HashAlgorithm {
  if (isHashAlgorithm(text)) return text;
  throw usageError(`unknown hash algorithm '${text}': it is one of ${hashAlgorithms.join(', ')}`);
}
