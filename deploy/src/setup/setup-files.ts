import { constants } from 'node:fs';
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { userConfFile } from '@larder/substituter/config';
import type { Settings } from '@larder/substituter/settings/settings';

/** Where a set-up is written: the machine's configuration of Nix, or one user's. */
export interface SetupPlace {
  readonly scope: 'system' | 'user';
  readonly nixConf: string;
  /** Ours alone, included by `nix.conf`. */
  readonly larderConf: string;
  /** The netrc file in force; a user's own where the system's is not theirs to write. */
  readonly netrc: string;
  /** Whether `larder.conf` has to name the netrc file. */
  readonly setsNetrc: boolean;
}

/** The machine's configuration for who may write it, else the user's; `scope` overrides. */
export async function findSetupPlace(settings: Settings, scope?: 'system' | 'user'): Promise<SetupPlace> {
  const confDir = settings.directories.confDir.value;
  const chosen = scope ?? ((await isWritable(confDir)) ? 'system' : 'user');
  const nixConf = chosen === 'system' ? `${confDir}/nix.conf` : userConfFile();
  const current = settings.sourced('netrc-file');
  const isOwn = current.origin === 'default' && chosen === 'user';
  const larderConf = `${dirname(nixConf)}/larder.conf`;
  return {
    scope: chosen,
    nixConf,
    larderConf,
    netrc: isOwn ? `${dirname(nixConf)}/netrc` : current.value,
    setsNetrc: isOwn || current.origin.startsWith(larderConf),
  };
}

async function isWritable(directory: string): Promise<boolean> {
  for (let at = directory; ; at = dirname(at)) {
    try {
      await access(at, constants.W_OK);
      return true;
    } catch (error) {
      // The first that is there decides whether the others can be made.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) return false;
    }
  }
}

export async function readIfPresent(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new LarderError('setup-failed', `cannot read ${file}`, { cause: error });
  }
}

/** Replaces a file as a whole, or removes it when nothing is left to say. @throws `setup-failed` naming it */
export async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.larder-${process.pid}`;
  try {
    if (text === '') {
      await rm(file, { force: true });
      return;
    }
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(temporary, 'w', mode);
    try {
      await handle.chmod(mode);
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new LarderError('setup-failed', `cannot write ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
