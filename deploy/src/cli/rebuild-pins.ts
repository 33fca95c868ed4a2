import type { PinList } from '@larder/cache-server/http/pin-bodies';
import { LarderError } from '@larder/signing/errors';
import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';
import type { MachineRoot } from '../activate/machine-root.js';
import {
  listGenerationPins,
  machineName,
  type PinOutcome,
  type PinRegister,
  updatePins,
} from '../rebuild/generation-pins.js';
import { type PinChoice, type PinSettings, readPinSettings } from '../rebuild/pin-settings.js';
import { usageError } from './command.js';
import { ServerApi } from './server-api.js';

/** A switch that is done does not wait longer than this for a cache that does not answer. */
const patience = 30_000;

/** Pins what the machine can boot, where that is asked for; whatever goes wrong is said, and nothing more. */
export async function pinAfterSwitch(root: MachineRoot, choice: PinChoice): Promise<void> {
  try {
    const settings = await readPinSettings(choice);
    if (settings === undefined) return;
    const outcome = await pinGenerations(root, settings, AbortSignal.timeout(patience));
    process.stderr.write(describe(outcome, settings));
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    process.stderr.write(`warning: nothing was pinned: ${(error as Error).message}${cause}\n`);
  }
}

/**
 * `larder rebuild pin`.
 * @throws `pins-incomplete` where not all of it could be done
 */
export async function pinNow(root: MachineRoot, choice: PinChoice): Promise<void> {
  const settings = await readPinSettings(choice);
  if (settings === undefined)
    throw usageError('in which cache? Say it with --pin, LARDER_PIN_CACHE, or in rebuild.toml');
  const outcome = await pinGenerations(root, settings);
  process.stderr.write(describe(outcome, settings));
  if (outcome.missing.length + outcome.failures.length > 0)
    throw new LarderError(
      'pins-incomplete',
      `not everything this machine can boot is pinned in ${settings.cache}`,
    );
}

async function pinGenerations(
  root: MachineRoot,
  { cache, name, tokenFile }: PinSettings,
  signal?: AbortSignal,
): Promise<PinOutcome> {
  const { api, path } = await ServerApi.openCache(cache, { tokenFile, signal });
  const machine = await machineName(root, name);
  return updatePins(openRegister(api, path), machine, await listGenerationPins(root, machine));
}

function openRegister(api: ServerApi, cache: string): PinRegister {
  const storeDir = new StoreDir(DEFAULT_STORE_DIR);
  const at = (name: string): string => `${cache}/pins/${encodeURIComponent(name)}`;
  return {
    async list() {
      const { pins } = await api.call<PinList>('GET', `${cache}/pins`);
      return new Map(
        pins.map(({ name, revisions: [newest] }) => [
          name,
          (newest?.paths ?? []).map((path) => `${storeDir.path}/${path}`),
        ]),
      );
    },
    async set({ name, path }) {
      const paths = [storeDir.parseWithin(path).storePath];
      await api.call('PUT', at(name), { paths, keepLast: 1 });
    },
    async remove(name) {
      await api.call('DELETE', at(name));
    },
  };
}

function describe(
  { standing, made, removed, missing, failures }: PinOutcome,
  { cache }: PinSettings,
): string {
  const lines = [
    ...(made.length + removed.length > 0
      ? [`Pinned in ${cache}: ${standing}; ${made.length} new, ${removed.length} gone.`]
      : []),
    ...missing.map(({ path, name }) => `warning: ${cache} lacks ${path}: not pinned as ${name}`),
    ...(missing.length > 0 ? [`warning: 'larder push' what is missing, then 'larder rebuild pin'`] : []),
    ...failures.map((failure) => `warning: not pinned in ${cache}: ${failure}`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
