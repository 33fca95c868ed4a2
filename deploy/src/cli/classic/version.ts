import { readFileSync } from 'node:fs';
import { languageVersion } from '@larder/builder/eval/versions';
import { loadSettings, userConfFiles } from '@larder/substituter/config';
import { LEVEL, print, printLines } from './messages.js';
import type { ToolContext } from './tool-context.js';

/** What `--version` prints: Nix's form, with the version of Nix that the tools are like; more when verbose. */
export function printVersion({ name, environment }: ToolContext, verbosity: number): number {
  print(`${name} (Nix) ${languageVersion}\n`);
  if (verbosity <= LEVEL.info) return 0;
  const settings = loadSettings(environment);
  const { confDir, storeDir, stateDir } = settings.directories;
  printLines([
    `Larder version: ${larderVersion()}`,
    `System type: ${settings.other('system')?.value ?? systemType()}`,
    'Features: signed-caches',
    `System configuration file: ${confDir.value}/nix.conf`,
    `User configuration files: ${userConfFiles(environment).join(':')}`,
    `Store directory: ${storeDir.value}`,
    `State directory: ${stateDir.value}`,
  ]);
  return 0;
}

function larderVersion(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

const processors: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' };

function systemType(): string {
  return `${processors[process.arch] ?? process.arch}-${process.platform}`;
}
