import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { readPinEnvironment } from '../config.js';

/** What the command line says of pins. */
export interface PinChoice {
  /** A cache by its URL or name; `false` for none, whatever else is set. */
  readonly pin?: string | false;
  readonly pinName?: string;
  readonly tokenFile?: string;
}

/** Where the machine's generations are pinned. */
export interface PinSettings {
  readonly cache: string;
  /** What the machine is called there; its host name where nobody says. */
  readonly name: string | undefined;
  readonly tokenFile: string | undefined;
}

/** Whether pins are asked for anywhere: cheap, as every switch asks. */
export function wantsPins({ pin }: PinChoice): boolean {
  if (pin !== undefined) return pin !== false;
  const { cache, files } = readPinEnvironment();
  return cache !== undefined || files.some((file) => existsSync(file));
}

/**
 * The command line goes before the environment, and that before `rebuild.toml`. `undefined` where none names a cache.
 * @throws `rebuild-config-invalid` naming the file and what is wrong in it
 */
export async function readPinSettings(choice: PinChoice): Promise<PinSettings | undefined> {
  if (choice.pin === false) return undefined;
  const environment = readPinEnvironment();
  const file = environment.files.find((each) => existsSync(each));
  const said = file === undefined ? {} : await readPinFile(file);
  const cache = choice.pin ?? environment.cache ?? said.cache;
  if (cache === undefined) return undefined;
  return {
    cache,
    name: choice.pinName ?? environment.name ?? said.name,
    tokenFile: choice.tokenFile ?? said['token-file'],
  };
}

const keys = ['cache', 'name', 'token-file'] as const;
type PinFile = Partial<Record<(typeof keys)[number], string>>;

/** The table `[pin]` of a `rebuild.toml`. */
async function readPinFile(file: string): Promise<PinFile> {
  const invalid = (what: string, cause?: unknown): LarderError =>
    new LarderError('rebuild-config-invalid', `${file}: ${what}`, { cause });
  const { parse } = await import('smol-toml');
  let document: Record<string, unknown>;
  try {
    document = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw invalid('cannot be read', error);
  }
  const { pin = {}, ...others } = document;
  const [stranger] = Object.keys(others);
  if (stranger !== undefined) throw invalid(`there is no '${stranger}'; it has one table, [pin]`);
  if (typeof pin !== 'object' || pin === null) throw invalid('pin must be a table: [pin]');
  for (const [key, value] of Object.entries(pin)) {
    if (!keys.some((each) => each === key)) throw invalid(`[pin] has ${keys.join(', ')}, but no '${key}'`);
    if (typeof value !== 'string' || value === '') throw invalid(`pin.${key} must be a text`);
  }
  return pin;
}
