import { parseAge, removeOldGenerations } from '../../profile/old-generations.js';
import { parseArguments } from './arguments.js';
import { print, usageError } from './messages.js';
import { ToolSession } from './session.js';
import { parseCount } from './store-flags.js';
import { collectAll } from './store-gc.js';
import type { ToolContext } from './tool-context.js';

const help = `Usage: nix-collect-garbage [-d] [--delete-older-than PERIOD] [--max-freed BYTES] [--dry-run]

Deletes what no root needs, as Nix's own nix-collect-garbage does.

  -d, --delete-old               first delete all generations of profiles but the present ones
  --delete-older-than PERIOD     first delete those that were replaced longer ago: 30d
  --max-freed BYTES              stop once so much is free; K, M, G and T are understood
  --dry-run                      say which generations would go, and delete nothing
`;

/** `nix-collect-garbage`. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  let show: 'help' | 'version' | undefined;
  let dryRun = false;
  let maxFreed: number | undefined;
  let old: { readonly olderThan?: string } | undefined;
  const common = parseArguments(argv, (arg, next) => {
    if (arg === '--help' || arg === '--version') show = arg.slice(2) as 'help' | 'version';
    else if (arg === '--delete-old' || arg === '-d') old ??= {};
    else if (arg === '--delete-older-than') old = { olderThan: next() };
    else if (arg === '--dry-run') dryRun = true;
    else if (arg === '--max-freed') maxFreed = Math.max(0, parseCount(next()));
    else return false;
    return true;
  });
  if (show === 'version') {
    const { printVersion } = await import('./version.js');
    return printVersion(context, common.verbosity);
  }
  if (show === 'help') {
    print(help);
    return 0;
  }
  await using session = new ToolSession(common, context.environment);
  if (old !== undefined) {
    await removeOldGenerations({
      stateDir: session.layout.stateDir,
      ...(old.olderThan === undefined ? {} : { before: parsePeriod(old.olderThan) }),
      dryRun,
      onProfile: (path) => session.say(`removing old generations of profile ${path}`),
      onRemove: (_, number) =>
        session.say(`${dryRun ? 'would remove' : 'removing'} profile version ${number}`),
    });
  }
  if (!dryRun) await collectAll(session, maxFreed);
  return 0;
}

function parsePeriod(text: string): Date {
  try {
    return parseAge(text);
  } catch {
    throw usageError(`invalid number of days specifier '${text}', expected something like '14d'`);
  }
}
