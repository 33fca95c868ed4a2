import { restoreNar } from '@larder/signing/nar-restore';
import { dumpNar } from '@larder/signing/nar-writer';
import { print, usageError } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import type { ToolSession } from './session.js';
import { readFlags } from './store-flags.js';

/** `nix-store --dump`: the archive of any file or tree. */
export async function dump(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  if (args.length !== 1) throw usageError('only one argument allowed');
  const caseHack = session.flag('use-case-hack', false);
  for (const chunk of dumpNar(args[0]!, { caseHack })) print(chunk);
  return 0;
}

/** `nix-store --restore`: an archive from standard input. */
export async function restore(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  readFlags(flags, []);
  if (args.length !== 1) throw usageError('only one argument allowed');
  const caseHack = session.flag('use-case-hack', false);
  await restoreNar(process.stdin, args[0]!, { caseHack, signal: session.signal });
  return 0;
}
