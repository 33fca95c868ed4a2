import { strict as assert } from 'node:assert';
import { larderExecutable } from '../larder/larder.js';
import type { Nix } from '../oracle/nix.js';
import { type ProgramOptions, type ProgramResult, tryProgram } from '../oracle/program.js';

/** Names that both have, and that work on the store of the environment. */
export type ToolName = 'nix-build' | 'nix-instantiate' | 'nix-store';

/** Runs one of Larder's classic tools on a store of stock Nix. */
export function runOurs(
  nix: Nix,
  tool: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  return tryProgram(process.execPath, [larderExecutable, tool, ...args], {
    ...options,
    env: { ...nix.environment, ...options.env },
  });
}

/** What Larder's tool prints, its last newline off; it must succeed. */
export async function ours(
  nix: Nix,
  tool: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<string> {
  const result = await runOurs(nix, tool, args, options);
  assert.equal(result.status, 0, `${tool} ${args.join(' ')}: ${result.stderr}`);
  return result.stdout.toString().replace(/\n$/, '');
}

/** Runs the same command of stock Nix and of Larder, one after the other; both must print the same and end alike. */
export async function assertSame(
  nix: Nix,
  tool: ToolName,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const expected = await nix.try(tool, args, options);
  const got = await runOurs(nix, tool, args, options);
  const command = `${tool} ${args.join(' ')}`;
  assert.equal(
    got.stdout.toString('latin1'),
    expected.stdout.toString('latin1'),
    `${command}: ${got.stderr}`,
  );
  assert.equal(got.status, expected.status, `${command}: ${got.stderr}\nstock: ${expected.stderr}`);
  return got;
}

/** Derivations that build without any other program than the shell. */
export const expressions = `
let
  shell = name: text: extra: derivation ({
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" text ]; PATH = "/usr/bin:/bin";
  } // extra);
in rec {
  leaf = shell "leaf" "echo building leaf; mkdir $out; echo leaf > $out/leaf" { quoted = "a'b\\"c"; };
  outputs = shell "outputs" "mkdir $out $dev; echo $dev > $out/dev; echo \${leaf} > $dev/leaf" { outputs = [ "out" "dev" ]; };
  top = shell "top-level" "mkdir $out; echo $out \${outputs} \${outputs.dev} > $out/refs" { };
  graph = shell "graph" "while read path; do echo $path >> $out; done < refs" { exportReferencesGraph = [ "refs" top.drvPath ]; };
  failing = shell "failing" "echo oh no; exit 3" { };
  other = shell "other" "exit 1" { };
  needing = shell "needing" "cat \${failing}" { };
  wrong = shell "wrong" "echo hello > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "bye"; };
  changing = shell "changing" "read now _ < /proc/uptime; echo $now > $out" { };
  closing = shell "closing" "mkdir $out; exec >/dev/null 2>&1; sleep 1000" { };
  hanging = shell "hanging" "sleep 60" { };
}
`;
