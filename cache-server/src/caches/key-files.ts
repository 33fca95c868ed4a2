import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SecretKey } from '@larder/signing/key';
import { ServerError } from '../errors.js';
import { writePrivateFile } from '../private-file.js';

/** The directory with a copy of every secret key, `<cache>/<key name>`, mode 0600. */
export class KeyFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws `request-malformed` when no file can have the key's name; `key-exists` for another key that has it */
  async write(cache: string, key: SecretKey): Promise<void> {
    if (/[/\0]/.test(key.name) || key.name.startsWith('.'))
      throw new ServerError(
        'request-malformed',
        `'${key.name}' cannot name a key: it is the name of a file, too`,
      );
    const file = join(this.#directory, cache, key.name);
    if (await writePrivateFile(file, `${key.format()}\n`)) return;
    if ((await readFile(file, 'utf8')).trim() !== key.format())
      throw new ServerError('key-exists', `${file} is another key of that name; move it away`);
  }

  /** Those of a cache, by name. */
  async read(cache: string): Promise<SecretKey[]> {
    const directory = join(this.#directory, cache);
    const names = await readdir(directory).catch(() => []);
    return Promise.all(
      names.sort().map(async (name) => SecretKey.parse(await readFile(join(directory, name), 'utf8'))),
    );
  }

  async delete(cache: string, name: string): Promise<void> {
    await rm(join(this.#directory, cache, name), { force: true });
  }
}
