import { LarderError } from '@larder/signing/errors';
import { openMachineStore } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import { type Command, Option } from 'commander';
import { MachineRoot } from '../activate/machine-root.js';
import type { Generation } from '../activate/profile.js';
import {
  type ElementSource,
  nameOf,
  type ProfileElement,
  uniqueName,
  versionOf,
} from '../profile/manifest.js';
import { formatHistory, listHistory } from '../profile/profile-history.js';
import { findUserProfile } from '../profile/profile-place.js';
import { UserProfile } from '../profile/user-profile.js';
import { type EngineName, engineNames } from '../rebuild/engine-name.js';
import { type Engines, openEngines } from '../rebuild/engines.js';
import { createBuildProgress } from './build-progress.js';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { createVerb, usageError } from './command.js';

interface ProfileOptions extends ClientOptions {
  readonly profile?: string;
  readonly root: string;
  readonly evaluator: EngineName;
  readonly realiser: EngineName;
  readonly json?: true;
}

interface InstallOptions extends ProfileOptions {
  readonly file: string;
  readonly include?: readonly string[];
  readonly priority?: number;
}

export function createCommand(): Command {
  const profile = createVerb('profile', {
    summary: "Install programs for one user, without touching anybody else's, and go back.",
    examples: [
      ['larder profile install hello', 'install the attribute hello of <nixpkgs>'],
      ['larder profile rollback', 'undo the last change'],
    ],
  });
  for (const each of [install(), remove(), upgrade(), list(), history(), rollback()])
    profile.addCommand(each);
  return profile;
}

function withProfile(command: Command): Command {
  return addClientOptions(
    command
      .option('--profile <path>', "the profile, as the machine sees it; the user's own without it")
      .option('--root <directory>', 'work on the machine whose file system is there', '/')
      .addOption(engineOption('--evaluator', 'what evaluates'))
      .addOption(engineOption('--realiser', 'what fetches and builds')),
  );
}

function engineOption(flag: string, what: string): Option {
  const option = new Option(`${flag} <engine>`, `${what}: Larder, or an installed Nix`);
  return option.choices(engineNames).default('larder');
}

function withSources(command: Command): Command {
  return command
    .option('-f, --file <file>', 'where attributes are', '<nixpkgs>')
    .option('-I, --include <path>', 'add to the search path: NAME=PATH or PATH; repeatable', append);
}

function append(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

function number(text: string): number {
  if (!/^\d+$/.test(text)) throw usageError(`'${text}' is not a whole number`);
  return Number(text);
}

/** What a sub-verb works with. */
interface Work {
  readonly profile: UserProfile;
  readonly engines: Engines;
  readonly session: ClientSession;
}

async function withWork(options: ProfileOptions, action: (work: Work) => Promise<void>): Promise<void> {
  await using session = await ClientSession.open(options);
  const root = new MachineRoot(options.root);
  const uri = parseStoreUri(root.isMachine ? session.settings.get('store') : `local?root=${root.directory}`);
  if (uri.kind !== 'local' && uri.kind !== 'auto' && uri.kind !== 'daemon')
    throw usageError(`a profile is in a store of this machine, not in ${session.settings.get('store')}`);
  const store = await openMachineStore(uri, session.context);
  try {
    const stateDir = root.isMachine ? session.settings.directories.stateDir.value : '/nix/var/nix';
    const path = options.profile ?? (await findUserProfile(root, stateDir));
    const onWait = (lock: string): void => note(`waiting for ${lock}`);
    await using engines = await openEngines({
      root: root.directory,
      settings: options.option ?? [],
      evaluator: options.evaluator,
      realiser: options.realiser,
      showProgress: async (storeDir) => createBuildProgress('auto', storeDir),
      onWait,
    });
    await action({ profile: new UserProfile(path, { root, store, onWait }), engines, session });
  } finally {
    await store.close();
  }
}

function install(): Command {
  const verb = createVerb('install', {
    summary: 'Add packages: attributes of <nixpkgs> or of --file, or store paths.',
    examples: [
      ['larder profile install hello', 'from <nixpkgs>'],
      ['larder profile install -f ./packages.nix tools.editor', 'from a file'],
    ],
  })
    .argument('<package...>', 'attributes, or store paths')
    .option('--priority <number>', 'of two packages with one file, the lower number wins', number);
  return withSources(withProfile(verb)).action(async (texts: string[], options: InstallOptions) => {
    await withWork(options, async (work) => {
      const added: Omit<ProfileElement, 'name'>[] = [];
      for (const text of texts) added.push(await realiseText(text, work, options));
      const generation = await work.profile.change((elements) => [
        ...elements,
        ...nameAll(added, texts, elements),
      ]);
      report(generation, 'Nothing new.');
    });
  });
}

/** Names new elements by their attribute's last part, or their package's own name. */
function nameAll(
  added: readonly Omit<ProfileElement, 'name'>[],
  texts: readonly string[],
  present: readonly ProfileElement[],
): ProfileElement[] {
  const taken = new Set(present.map(({ name }) => name));
  return added.map((element, index) => {
    const own =
      element.source === undefined ? nameOf(element.storePaths) : texts[index]!.replace(/^.*\./, '');
    const name = uniqueName(own, taken);
    taken.add(name);
    return { ...element, name };
  });
}

async function realiseText(
  text: string,
  work: Work,
  { file, include, priority = 5 }: InstallOptions,
): Promise<Omit<ProfileElement, 'name'>> {
  if (/^\/.*\/[0-9a-z]{32}-[^/]+$/.test(text)) return { storePaths: [text], priority };
  const source: ElementSource = { file, attribute: text };
  return { storePaths: [await realise(source, work, include ?? [])], priority, source };
}

async function realise(
  { file, attribute }: ElementSource,
  { engines, session }: Work,
  searchPath: readonly string[],
): Promise<string> {
  const { signal } = session;
  const options = { searchPath, showTrace: false, signal };
  const derivation = await engines.evaluator.instantiate({ file, attribute }, options);
  return engines.realiser.realise(derivation, signal);
}

function remove(): Command {
  const verb = createVerb('remove', {
    summary: 'Remove packages, by the names that list shows.',
    examples: [['larder profile remove hello', 'remove it']],
  }).argument('<name...>', 'what to remove');
  return withProfile(verb).action(async (names: string[], options: ProfileOptions) => {
    await withWork(options, async ({ profile }) => {
      const generation = await profile.change((elements) => {
        requireNames(names, elements, profile);
        return elements.filter(({ name }) => !names.includes(name));
      });
      report(generation, 'Nothing to remove.');
    });
  });
}

function upgrade(): Command {
  const verb = createVerb('upgrade', {
    summary: 'Evaluate packages again where they came from, and take what that gives now.',
    examples: [['larder profile upgrade', 'all of them']],
  })
    .argument('[name...]', 'what to upgrade; everything without names')
    .option('-I, --include <path>', 'add to the search path: NAME=PATH or PATH; repeatable', append);
  return withProfile(verb).action(
    async (names: string[], options: ProfileOptions & { readonly include?: readonly string[] }) => {
      await withWork(options, async (work) => {
        const generation = await work.profile.change(async (elements) => {
          requireNames(names, elements, work.profile);
          const upgraded: ProfileElement[] = [];
          for (const element of elements) {
            const wanted = names.length === 0 || names.includes(element.name);
            if (!wanted || element.source === undefined) upgraded.push(element);
            else {
              const storePaths = [await realise(element.source, work, options.include ?? [])];
              upgraded.push({ ...element, storePaths });
            }
          }
          return upgraded;
        });
        report(generation, 'Everything is as new as it can be.');
      });
    },
  );
}

function requireNames(
  names: readonly string[],
  elements: readonly ProfileElement[],
  profile: UserProfile,
): void {
  const absent = names.find((name) => !elements.some((element) => element.name === name));
  if (absent === undefined) return;
  const present = elements.map(({ name }) => name).join(', ');
  throw new LarderError(
    'element-absent',
    `${profile.path} has no '${absent}'; it has ${present === '' ? 'nothing' : present}`,
  );
}

function list(): Command {
  const verb = createVerb('list', {
    summary: 'Show what is installed.',
    examples: [['larder profile list --json', 'for programs']],
  }).option('--json', 'print JSON');
  return withProfile(verb).action(async (options: ProfileOptions) => {
    await withWork(options, async ({ profile }) => {
      const elements = await profile.elements();
      if (options.json) {
        const shown = elements.map(({ name, storePaths, priority, source }) => ({
          name,
          storePaths,
          priority,
          source,
        }));
        process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
        return;
      }
      for (const element of elements) {
        const from =
          element.source === undefined ? '' : `  ${element.source.file} ${element.source.attribute}`;
        process.stdout.write(`${element.name} ${versionOf(element)}${from}\n`);
      }
    });
  });
}

function history(): Command {
  const verb = createVerb('history', {
    summary: 'Show what changed from generation to generation.',
    examples: [['larder profile history', 'all of it']],
  }).option('--json', 'print JSON');
  return withProfile(verb).action(async (options: ProfileOptions) => {
    await withWork(options, async ({ profile }) => {
      const entries = await listHistory(profile);
      process.stdout.write(`${options.json ? JSON.stringify(entries, null, 2) : formatHistory(entries)}\n`);
    });
  });
}

function rollback(): Command {
  const verb = createVerb('rollback', {
    summary: 'Go back to the generation before, or to any.',
    examples: [['larder profile rollback --to 2', 'to the second one']],
  }).option('--to <generation>', 'the generation', number);
  return withProfile(verb).action(async (options: ProfileOptions & { readonly to?: number }) => {
    await withWork(options, async ({ profile }) => report(await profile.rollBack(options.to), ''));
  });
}

function report(generation: Generation | undefined, nothing: string): void {
  process.stderr.write(
    generation === undefined ? `${nothing}\n` : `Generation ${generation.number} is the current one.\n`,
  );
}
