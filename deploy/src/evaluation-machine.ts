import { readFileSync } from 'node:fs';
import type { CommandSurroundings } from '@larder/builder/instantiate-arguments';
import { isSetting } from '@larder/builder/language-settings';
import { loadSettings } from '@larder/substituter/config';
import { findStoreLayout } from '@larder/substituter/local-store/layout';
import type { Assignment } from '@larder/substituter/settings/nix-conf';
import type { Settings } from '@larder/substituter/settings/settings';
import { parseStoreUri, type StoreUri } from '@larder/substituter/store-uri';

/** The machine an evaluation runs on, as its settings and environment describe it. */
export interface EvaluationMachine {
  readonly settings: Settings;
  readonly surroundings: CommandSurroundings;
}

/** The store an evaluation works on; undefined for Nix's `dummy:`. */
export function storeUri(settings: Settings): StoreUri | undefined {
  const uri = settings.get('store');
  // Nix's store without contents, for evaluations that write nothing.
  return uri.startsWith('dummy:') ? undefined : parseStoreUri(uri);
}

/** Reads what an evaluation needs to know of this machine. `environment` is the process's own, read once. */
export function describeMachine(
  environment: NodeJS.ProcessEnv = process.env,
  overrides: readonly Assignment[] = [],
): EvaluationMachine {
  const settings = loadSettings(environment, overrides);
  const uri = storeUri(settings);
  const layout = findStoreLayout(settings, uri?.parameters ?? new Map());
  const configuration = [...settings.others]
    .filter(([name]) => isSetting(name))
    .map(([name, { value }]) => [name, value] as const);
  return {
    settings,
    surroundings: {
      environment: { ...environment },
      home: environment.HOME ?? '/',
      workingDirectory: process.cwd(),
      storeDir: layout.storeDir.path,
      realStoreDir: layout.realStoreDir,
      configuration,
      readStandardInput: () => readFileSync(0, 'utf8'),
    },
  };
}
