import { type CommonArguments, parseArguments } from './arguments.js';
import { print, usageError } from './messages.js';
import { storeHelp } from './nix-store-help.js';
import { ToolSession } from './session.js';
import { type Operation, operations } from './store-operations.js';
import type { ToolContext } from './tool-context.js';

/** What an operation of `nix-store` gets. */
export interface OperationRequest {
  /** Options that are no other tool's, in order; each value follows its option. */
  readonly flags: readonly string[];
  readonly args: readonly string[];
  /** The link that `--add-root` asks for. */
  readonly addRoot: string | undefined;
  /** `--no-output`: print no paths. */
  readonly quiet: boolean;
}

/** Options of operations that are followed by a value. */
const valued = new Set(['--max-freed', '--max-links', '--max-atime']);

/** `nix-store`: one operation on the store a call. */
export async function run(argv: readonly string[], context: ToolContext): Promise<number> {
  const flags: string[] = [];
  const args: string[] = [];
  let addRoot: string | undefined;
  let quiet = false;
  let asked: Operation | 'help' | 'version' | undefined;
  const choose = (operation: Operation | 'help' | 'version'): void => {
    if (asked !== undefined && asked !== operation) throw usageError('only one operation may be specified');
    asked = operation;
  };
  const common: CommonArguments = parseArguments(argv, (arg, next) => {
    if (arg === '--help') choose('help');
    else if (arg === '--version') choose('version');
    else if (Object.hasOwn(operations, arg)) choose(operations[arg]!);
    else if (arg === '--add-root') addRoot = next();
    else if (arg === '--no-output') quiet = true;
    else if (arg.startsWith('-')) {
      if (arg !== '--indirect') flags.push(arg); // All roots are indirect.
      if (valued.has(arg)) flags.push(next());
    } else args.push(arg);
    return true;
  });
  if (asked === undefined) throw usageError('no operation specified');
  if (asked === 'help') {
    print(storeHelp);
    return 0;
  }
  if (asked === 'version') {
    const { printVersion } = await import('./version.js');
    return printVersion(context, common.verbosity);
  }
  const { run: runOperation } = await asked.load();
  await using session = new ToolSession(common, context.environment);
  return await runOperation(session, { flags, args, addRoot, quiet });
}
