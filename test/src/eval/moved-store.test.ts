// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larderExecutable } from '../oracle/larder.js';
import { Nix } from '../oracle/nix.js';
import { runProgram, tryProgram } from '../oracle/program.js';

/** The value of an expression as JSON, by Larder on the store of this Nix. */
async function ours(nix: Nix, expression: string): Promise<unknown> {
  const args = ['instantiate', '--eval', '--strict', '--json', '--read-write-mode', '-E', expression];
  const output = await runProgram(process.execPath, [larderExecutable, ...args], {
    env: { ...nix.environment, ...(nix.root === undefined ? {} : { NIX_REMOTE: `local?root=${nix.root}` }) },
    cwd: nix.scratch.path,
  });
  return JSON.parse(output.toString());
}

async function theirs(nix: Nix, expression: string): Promise<unknown> {
  const args = ['--eval', '--strict', '--json', '--read-write-mode', '-E', expression];
  return JSON.parse(await nix.run('nix-instantiate', args, { cwd: nix.scratch.path }));
}

test('what is in a store below another root is read there', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await mkdir(nix.scratch.join('tree'));
  await writeFile(nix.scratch.join('tree/value.nix'), '{ number = 7; here = ./data; }');
  await writeFile(nix.scratch.join('tree/data'), 'contents');
  const [tree] = (await nix.add(nix.scratch.join('tree'))) as [string];
  const read = `let tree = builtins.storePath "${tree}"; in {
    read = builtins.readFile "\${tree}/data";
    listed = builtins.readDir tree;
    exists = map builtins.pathExists [ "\${tree}/data" "\${tree}/absent" ];
    imported = (import "\${tree}/value.nix").number;
    context = builtins.getContext "\${tree}";
  }`;
  assert.deepEqual(await ours(nix, read), await theirs(nix, read));
  // Nix 2.8 looks for a path without a context where its name says, which later ones do not.
  const here = nix.scratch.join('tree');
  const literal = (place: string): string => `[
    (builtins.hashFile "sha256" ${place}/data)
    (import ${place}/value.nix).number
    (builtins.readFile (import ${place}/value.nix).here)
    "\${${place}/data}"
    (builtins.path { path = ${place}; name = "filtered"; filter = path: type: baseNameOf path == "data"; })
  ]`;
  assert.deepEqual(await ours(nix, literal(tree)), await theirs(nix, literal(here)));
});

test('what a derivation made is imported and read, which builds it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const expression = `let
    make = name: text: derivation {
      inherit name text; system = builtins.currentSystem; builder = "/bin/sh"; passAsFile = [ "text" ];
      args = [ "-c" "read -r line < \\"$textPath\\"; echo \\"$line\\" > $out" ];
    };
    program = make "program.nix" "{ answer = 6 * 7; }";
    second = make "second" "made from \${toString (import program).answer}";
  in {
    inherit (import program) answer;
    read = builtins.readFile second;
    exists = builtins.pathExists second.outPath;
    type = builtins.typeOf (import "\${program}");
  }`;
  assert.deepEqual(await ours(nix, expression), await theirs(nix, expression));
  const args = ['instantiate', '--eval', '--option', 'allow-import-from-derivation', 'false', '-E'];
  const refused = await tryProgram(process.execPath, [larderExecutable, ...args, `(${expression}).answer`], {
    env: nix.environment,
  });
  assert.equal(refused.status, 1);
  assert.match(
    refused.stderr.toString(),
    /cannot build '.*-program\.nix\.drv\^out' during evaluation because the option 'allow-import-from-derivation' is disabled/,
  );
});
