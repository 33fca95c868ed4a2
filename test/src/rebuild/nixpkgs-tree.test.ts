import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { componentCommand } from '../engines/components.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import { larder, Machine, needsExample } from './machine.js';

/** A tree with the entry points that nixpkgs has, and next to nothing behind them. */
const tree: Readonly<Record<string, string>> = {
  'nixos/default.nix': `
    { configuration ? import ./lib/from-env.nix "NIXOS_CONFIG" <nixos-config>
    , system ? builtins.currentSystem
    }:
    let eval = import ./lib/eval-config.nix { inherit system; modules = [ configuration ]; };
    in {
      inherit (eval) config;
      system = eval.config.system.build.toplevel;
      vm = (import ./lib/eval-config.nix { inherit system; modules = [ configuration { virtual = true; } ]; })
        .config.system.build.vm;
    }`,
  'nixos/lib/from-env.nix':
    'name: default: let value = builtins.getEnv name; in if value == "" then default else value',
  'nixos/lib/eval-config.nix': `
    { system, modules }:
    let
      load = module: if builtins.isAttrs module then module else import module;
      config = builtins.foldl' (all: module: all // load module) { name = "nixos"; } modules;
      busybox = builtins.path { path = <larder-sources/busybox>; name = "busybox"; };
      make = kind: script: derivation {
        name = "nixos-\${kind}-\${config.name}";
        inherit system;
        builder = "\${busybox}/bin/busybox";
        args = [ "sh" "-c" "\${busybox}/bin/busybox mkdir -p $out/bin; \${script}" ];
      };
    in {
      config.system.build = {
        toplevel = make "system" "echo \${config.name} > $out/label";
        vm = make "vm" "echo '#!/bin/sh' > $out/bin/run-\${config.name}-vm";
      };
    }`,
};

test('<nixpkgs/nixos> is called as nixos-rebuild calls it', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.create();
  await using other = await Machine.create();
  const nixpkgs = machine.scratch.join('nixpkgs');
  for (const [file, text] of Object.entries(tree)) {
    await mkdir(dirname(`${nixpkgs}/${file}`), { recursive: true });
    await writeFile(`${nixpkgs}/${file}`, text);
  }
  const file = machine.scratch.join('machine.nix');
  await writeFile(file, '{ name = "web"; }\n');
  const sources = machine.searchPath.find((entry) => entry.startsWith('larder-sources='))!;
  const include = ['-I', `nixpkgs=${nixpkgs}`, '-I', sources];

  const stock = async (attribute: string): Promise<string> => {
    const args = ['<nixpkgs/nixos>', '-A', attribute, '--no-out-link', '--store', other.root];
    const where = [...include, '-I', `nixos-config=${file}`];
    const command = componentCommand('nix', 'nix-build');
    return (await runProgram(command, [...args, ...where], { env: machine.env })).toString().trim();
  };
  const rebuild = async (
    args: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ): Promise<ProgramResult & { readonly path: string }> => {
    const words = [larder, 'rebuild', ...args, '--root', machine.root, '--no-out-link'];
    const result = await tryProgram(process.execPath, words, { env: { ...machine.env, ...variables } });
    return { ...result, path: result.stdout.toString().trim() };
  };
  const system = await stock('system');
  const configured = ['-I', `nixos-config=${file}`];

  await t.test('with -I nixos-config=…, its attribute system is the toplevel', async () => {
    for (const evaluator of ['larder', 'nix']) {
      const { path, stderr } = await rebuild(['build', ...include, ...configured, '--evaluator', evaluator]);
      assert.equal(path, system, stderr);
    }
    assert.equal(await readFile(machine.path(`${system}/label`), 'utf8'), 'web\n');
  });

  await t.test('with NIX_PATH', async () => {
    const entries = [`nixpkgs=${nixpkgs}`, sources, `nixos-config=${file}`];
    const { path, stderr } = await rebuild(['build'], { NIX_PATH: entries.join(':') });
    assert.equal(path, system, stderr);
  });

  await t.test('with NIXOS_CONFIG, which goes before; and what it says is looked at each time', async () => {
    const absent = ['-I', 'nixos-config=/nowhere.nix'];
    const { path, stderr } = await rebuild(['build', ...include, ...absent], { NIXOS_CONFIG: file });
    assert.equal(path, system, stderr);
    assert.equal((await rebuild(['build', ...include, ...absent])).status, 1);
  });

  await t.test('build-vm takes its attribute vm', async () => {
    const vm = await stock('vm');
    const { path, stderr } = await rebuild(['build-vm', ...include, ...configured]);
    assert.equal(path, machine.path(`${vm}/bin/run-web-vm`), stderr);
  });
});
