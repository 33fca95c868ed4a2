import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What to run from a new bundle: each session is some commands in one process, and gives the compiled form that some verbs
 * start from; `rest` is that of all others. All happens below a scratch directory, offline.
 */
export function sessions(root, scratch) {
  const environment = makeMachine(scratch);
  const program = join(root, 'deploy/bundle/training.nix');
  const tree = join(scratch, 'tree');
  const { NIX_STORE_DIR: _, NIX_STATE_DIR: __, NIX_LOG_DIR: ___, ...machineWithRoot } = environment;
  const session = (name, verbs, commands) => ({ name, verbs, environment, commands });
  return [
    session(
      'evaluate',
      ['instantiate', 'nix-instantiate', 'eval', 'nix-build', 'repl'],
      [
        ['instantiate', program],
        ['instantiate', program],
        ['instantiate', '--eval', '--strict', program, '-A', 'values'],
        ['eval', program],
      ],
    ),
    session('hook', ['post-build-hook'], [['post-build-hook', '--no-start', 'file:///nowhere']]),
    { ...session('rebuild', ['rebuild'], rebuildCommands(root, scratch)), environment: machineWithRoot },
    session(
      'rest',
      [],
      [
        ['store', 'add', tree],
        ['path-info', '--all'],
        ['nix-store', '--verify'],
        ['copy', '--all', '--to', `file://${join(scratch, 'cache')}`],
        ['verify', '--all'],
      ],
    ),
  ];
}

/** Two generations of a machine below the scratch directory, and back. */
function rebuildCommands(root, scratch) {
  const machine = join(scratch, 'root');
  const add = (tree) => {
    const executable = join(root, 'deploy/dist/cli/main.js');
    const args = [executable, 'store', 'add', '--store', `local?root=${machine}`, join(scratch, tree)];
    return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim();
  };
  const rebuild = (...args) => ['rebuild', ...args, '--root', machine];
  return [
    rebuild('boot', '--store-path', add('tree')),
    rebuild('boot', '--store-path', add('tree/bin')),
    rebuild('list-generations'),
    rebuild('rollback'),
  ];
}

/** The environment of a machine whose store, settings and caches are all in a directory, and a tree to put in the store. */
function makeMachine(scratch) {
  for (const folder of ['home', 'conf', 'tree/bin', 'root'])
    mkdirSync(join(scratch, folder), { recursive: true });
  writeFileSync(join(scratch, 'conf/nix.conf'), 'substituters =\nbuild-users-group =\nsandbox = false\n');
  writeFileSync(join(scratch, 'tree/init'), '#!/bin/sh\n');
  writeFileSync(join(scratch, 'tree/bin/switch-to-configuration'), '#!/bin/sh\n');
  for (const file of ['tree/init', 'tree/bin/switch-to-configuration']) chmodSync(join(scratch, file), 0o755);
  return {
    PATH: process.env.PATH,
    HOME: join(scratch, 'home'),
    XDG_CACHE_HOME: join(scratch, 'cache-home'),
    XDG_STATE_HOME: join(scratch, 'state-home'),
    XDG_CONFIG_HOME: join(scratch, 'config-home'),
    NIX_CONF_DIR: join(scratch, 'conf'),
    NIX_STORE_DIR: join(scratch, 'store'),
    NIX_STATE_DIR: join(scratch, 'var'),
    NIX_LOG_DIR: join(scratch, 'var/log'),
    OUT_PATHS: '',
  };
}
