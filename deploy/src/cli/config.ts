import { loadSettings } from '@larder/substituter/config';
import { type SettingName, settingKinds } from '@larder/substituter/settings/setting-kinds';
import type { Settings, Sourced } from '@larder/substituter/settings/settings';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions } from './client-session.js';
import { createVerb } from './command.js';

interface ShowOptions extends ClientOptions {
  readonly json?: boolean;
  readonly all?: boolean;
}

export function createCommand(): Command {
  const config = createVerb('config', {
    summary: "Show the client's configuration: nix.conf, NIX_CONFIG and the environment, as Nix reads them.",
    examples: [['larder config show substituters', 'one setting, and where it was set']],
  });
  config.addCommand(show());
  return config;
}

function show(): Command {
  const verb = createVerb('show', {
    summary: 'Print the settings in force, each with where it was set.',
    examples: [
      ['larder config show', 'all settings that Larder obeys'],
      ['larder config show --json trusted-public-keys', 'for programs'],
    ],
  })
    .argument('[name...]', 'only these')
    .option('--all', "also the settings of nix.conf that are for Nix's builder and evaluator")
    .option('--json', 'as JSON');
  return addClientOptions(verb).action((names: string[], options: ShowOptions) => {
    const overrides = (options.option ?? []).map(([name, value]) => ({
      name,
      value,
      origin: 'command line',
    }));
    const entries = listSettings(loadSettings(undefined, overrides), options);
    const chosen = names.length === 0 ? entries : entries.filter(([name]) => names.includes(name));
    process.stdout.write(options.json ? formatJson(chosen) : formatLines(chosen));
    const unknown = names.filter((name) => !entries.some(([known]) => known === name));
    for (const name of unknown) process.stderr.write(`larder: no setting is called '${name}'\n`);
    if (unknown.length > 0) process.exitCode = 1;
  });
}

type Entry = readonly [name: string, setting: Sourced<unknown>];

/** Directories under the names of the variables that move them, then settings by name. */
function listSettings(settings: Settings, { all }: ShowOptions): Entry[] {
  const { storeDir, stateDir, logDir, confDir, daemonSocket, cacheDir } = settings.directories;
  const directories: Entry[] = [
    ['store-dir', storeDir],
    ['state-dir', stateDir],
    ['log-dir', logDir],
    ['conf-dir', confDir],
    ['daemon-socket', daemonSocket],
    ['cache-dir', cacheDir],
  ];
  const known = (Object.keys(settingKinds) as SettingName[]).map(
    (name): Entry => [name, settings.sourced(name)],
  );
  const others: Entry[] = all ? [...settings.others] : [];
  return [...directories, ...[...known, ...others].sort(([a], [b]) => (a < b ? -1 : 1))];
}

function formatLines(entries: readonly Entry[]): string {
  return entries
    .map(([name, { value, origin }]) => `${name} = ${formatValue(value)}  # ${origin}\n`)
    .join('');
}

function formatValue(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : String(value);
}

function formatJson(entries: readonly Entry[]): string {
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}
