import { rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import type { Larder } from '../larder/larder.js';
import type { LarderServer } from '../larder/server.js';
import { tryProgram } from '../oracle/program.js';
import type { Stage } from './stage.js';

const example = fileURLToPath(new URL('../../../deploy/example', import.meta.url));

export interface RebuildCast {
  readonly larder: Larder;
  readonly stage: Stage;
  readonly server: LarderServer;
}

const settings = [
  'boot.loader.grub.device = "/dev/sda";',
  'fileSystems."/".device = "/dev/sda1";',
  'services.sshd.enable = true;',
];

/**
 * The whole pipeline on the example system, below a scratch root: built from source, pushed, wiped, fetched from the
 * cache with nothing built, changed, switched, rolled back.
 * @throws when a step does not do what it says
 */
export async function playRebuild({ larder, stage, server }: RebuildCast): Promise<void> {
  stage.heading('A whole system is built from source, and becomes a machine');
  const lack = await gatherSources(larder);
  if (lack !== undefined) return stage.say(`Left out here: ${lack}`);
  const [root, configuration] = [larder.scratch.join('machine'), larder.scratch.join('configuration.nix')];
  const configure = (...more: string[]): Promise<void> =>
    writeFile(configuration, `{\n${[...settings, ...more].map((each) => `  ${each}`).join('\n')}\n}\n`);
  const where = [
    ...['--root', root, '-I', `nixpkgs=${example}`, '-I', `nixos-config=${configuration}`],
    ...['--option', 'build-users-group', ''],
  ];
  stage.abbreviate(example, 'deploy/example');
  const rebuild = (action: string, ...more: string[]): Promise<string> =>
    stage.run(['rebuild', action, ...where, ...more]);
  const took = (what: string): void => stage.say(`→ ${what} in ${stage.seconds.toFixed(1)} s`);

  await configure();
  stage.quote(settings.join('\n'));
  await rebuild('switch', '--option', 'substituters', '');
  took('built from source and switched to');
  const system = await rebuild('build', '--no-out-link');

  stage.heading('The system goes to the cache, and the machine is wiped');
  const from = ['--store', `local?root=${root}`, '--token-file', server.tokenFile];
  await stage.run(['push', server.cache, ...from, system]);
  took('pushed');
  await removeTree(root);

  stage.heading('The same configuration again: fetched, and nothing built');
  const keys = (await server.publicKeys()).join(' ');
  const trust = ['--option', 'substituters', server.cache, '--option', 'trusted-public-keys', keys];
  const { stderr } = await larder.try(['rebuild', 'dry-build', ...where, ...trust]);
  if (!/^To fetch:/m.test(stderr) || /^To build:/m.test(stderr))
    throw new Error(`this should fetch:\n${stderr}`);
  await rebuild('switch', ...trust);
  took('fetched and switched to');

  stage.heading('One option changes; then back');
  await configure('networking.hostName = "pantry";');
  await rebuild('switch', ...trust);
  took('changed');
  await stage.run(['rebuild', 'rollback', '--root', root]);
  took('rolled back');
  await stage.run(['rebuild', 'list-generations', '--root', root]);
}

/** Gets what the example is made of; gives the reason where that cannot be. */
async function gatherSources(larder: Larder): Promise<string | undefined> {
  let missing: string | undefined;
  const note = {
    skip: (why?: string) => {
      missing = why;
    },
  };
  if (!(['sandbox', 'example'] as const).every((name) => needsComponent(note, name))) return missing;
  const { status, stderr } = await tryProgram(process.execPath, [`${example}/sources.mjs`], {
    env: larder.env,
  });
  if (status === 0) return undefined;
  const [first] = stderr.split('\n').filter((line) => line.startsWith('E:') || line.startsWith('Error'));
  return `Debian's packages for the example cannot be had (${first ?? `status ${status}`})`;
}

/** Directories of the store are read-only. */
async function removeTree(path: string): Promise<void> {
  await tryProgram('chmod', ['-R', 'u+w', path]);
  await rm(path, { recursive: true, force: true });
}
