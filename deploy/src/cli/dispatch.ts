import { readFileSync } from 'node:fs';
import { toolName, tools } from './classic/tools.js';
import type { VerbModule } from './verbs.js';
import { verbs } from './verbs.js';

/** Runs the command line. Gives the exit status: 0 done, 1 failed, 2 called wrongly. */
export async function main(args: readonly string[]): Promise<number> {
  // A reader that has seen enough (head, less) closes the pipe: that is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return dispatch(args);
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const tool = toolName(process.argv[1]);
  if (tool !== undefined) return runTool(tool, args);
  if (name !== undefined && Object.hasOwn(tools, name)) return runTool(name, rest);
  if (name === '--version' || name === '-V') {
    process.stdout.write(`larder ${version()}\n`);
    return 0;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    if (name === 'help' && rest[0] !== undefined) return dispatch([...rest, '--help']);
    (name === undefined ? process.stderr : process.stdout).write(overview());
    return name === undefined ? 2 : 0;
  }
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (verb === undefined) {
    process.stderr.write(`larder: there is no verb '${name}'; 'larder --help' lists them all\n`);
    return 2;
  }
  try {
    const status = (await verb.quick?.())?.runQuickly(rest);
    if (status !== undefined) return status;
    return await run(name, await verb.load(), rest);
  } catch (error) {
    const { reportError } = await import('./failure.js');
    return reportError(error);
  }
}

/** One of Nix's tools, called by a link with its name or as a verb. */
async function runTool(name: string, args: readonly string[]): Promise<number> {
  const { runTool: run } = await import('./classic/run-tool.js');
  return run(name, args);
}

async function run(name: string, module: VerbModule, args: readonly string[]): Promise<number> {
  // Only for the usage line: 'larder key generate' rather than 'key generate'.
  const { Command } = await import('./commander.js');
  const program = new Command('larder').exitOverride().addCommand(module.createCommand());
  await program.parseAsync([name, ...args], { from: 'user' });
  return typeof process.exitCode === 'number' ? process.exitCode : 0;
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

function overview(): string {
  const width = Math.max(...Object.keys(verbs).map((name) => name.length));
  const lines = Object.entries(verbs).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `Usage: larder VERB [ARGUMENT…]

A Nix binary cache: serve it, publish to it, fetch from it, verify what came.

Verbs:
${lines.join('\n')}

Tools of Nix, also by links with these names ('larder links DIR' makes them):
  ${Object.keys(tools).join(', ')}

'larder VERB --help' shows a verb's options and an example. 'larder --version' shows the version.
`;
}
