import { accessSync, constants, existsSync } from 'node:fs';
import { evaluate } from '@larder/builder/evaluate';
import type { EvaluationPrompt, EvaluationServices } from '@larder/builder/evaluation-services';
import type { EvaluationRequest } from '@larder/builder/instantiate-request';
import { LarderError } from '@larder/signing/errors';
import type { Client } from '@larder/substituter/client';
import { findStoreLayout } from '@larder/substituter/local-store/layout';
import type { LocalStoreUri } from '@larder/substituter/open-store';
import { type Netrc, readNetrc } from '@larder/substituter/settings/netrc';
import type { StoreUri } from '@larder/substituter/store-uri';
import { type EvaluationMachine, storeUri } from '../evaluation-machine.js';

export interface RunOptions {
  /** Where a conversation's lines come from. */
  readonly prompt?: EvaluationPrompt;
  /** Gets what a captured evaluation would print. */
  readonly onOutput?: (text: string) => void;
}

/** Runs an evaluation on this machine and its store; gives the exit status. */
export async function runOnMachine(
  request: EvaluationRequest,
  machine: EvaluationMachine,
  { prompt, onOutput }: RunOptions = {},
): Promise<number> {
  const { settings } = machine;
  let client: Client | undefined;
  const connect = async (): Promise<Client> => {
    const { createClient } = await import('@larder/substituter/client');
    client ??= createClient(settings);
    return client;
  };
  // Store, fetchers and codecs are a lot of code: it is loaded while the evaluation runs, if that asks for it.
  let services: Promise<EvaluationServices> | undefined;
  const open = (): Promise<EvaluationServices> => {
    services ??= openServices(machine, connect, { prompt, accessTokens: request.settings.accessTokens });
    return services;
  };
  try {
    return await evaluate(request, {
      services: open,
      onOutput,
      cacheDir: request.settings.evalCache ? settings.directories.cacheDir.value : undefined,
    });
  } finally {
    await (await services)?.close();
    await client?.[Symbol.asyncDispose]();
  }
}

async function openServices(
  { settings, surroundings }: EvaluationMachine,
  connect: () => Promise<Client>,
  {
    prompt,
    accessTokens,
  }: {
    readonly prompt: EvaluationPrompt | undefined;
    readonly accessTokens: Readonly<Record<string, string>>;
  },
): Promise<EvaluationServices> {
  const { EvaluationServices } = await import('@larder/builder/evaluation-services');
  let netrc: Netrc | undefined;
  return new EvaluationServices({
    prompt,
    accessTokens,
    authorization: (url) => {
      netrc ??= readNetrc(settings.get('netrc-file'));
      return netrc.authorization(url);
    },
    storeless: storeUri(settings) === undefined,
    stateDir: findStoreLayout(settings, storeUri(settings)?.parameters ?? new Map()).stateDir,
    cacheDir: settings.directories.cacheDir.value,
    storeDir: surroundings.storeDir,
    realStoreDir: surroundings.realStoreDir,
    openStore: async () => {
      const uri = storeUri(settings);
      if (uri === undefined || !isOnThisMachine(uri)) {
        throw new LarderError(
          'store-unusable',
          `cannot instantiate into '${settings.get('store')}': evaluation needs a store on this machine`,
        );
      }
      const layout = findStoreLayout(settings, uri.parameters);
      if (uri.kind !== 'daemon' && (uri.kind === 'local' || isOurs(layout.stateDir))) {
        const { LocalStore, localStoreOptions } = await import('@larder/substituter/local-store/local-store');
        return LocalStore.open(layout, localStoreOptions(settings));
      }
      const { openMachineStore } = await import('@larder/substituter/open-store');
      return openMachineStore(uri, (await connect()).context);
    },
    ensurePath: async (path, store) => {
      const { ensureForEvaluation } = await import('./evaluation-builder.js');
      await ensureForEvaluation(path, store, (await connect()).context);
    },
    fetchClosure: async (path, fromStore, store) => {
      const { fetchClosureForEvaluation } = await import('./evaluation-closure.js');
      await fetchClosureForEvaluation(path, fromStore, { store, client: (await connect()).context });
    },
    realise: async (outputs, store) => {
      const { realiseForEvaluation } = await import('./evaluation-builder.js');
      return realiseForEvaluation(outputs, store, (await connect()).context);
    },
  });
}

function isOnThisMachine(uri: StoreUri): uri is LocalStoreUri {
  return uri.kind === 'local' || uri.kind === 'daemon' || uri.kind === 'auto';
}

/** Whether a store with this state is for us to write, rather than for Nix's daemon. */
function isOurs(stateDir: string): boolean {
  if (!existsSync(stateDir)) return true;
  try {
    accessSync(stateDir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
