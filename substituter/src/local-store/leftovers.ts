import { lstatSync, readdirSync } from 'node:fs';
import { deleteTree } from './delete-tree.js';

/** So many names are looked up one by one; for more, the directory is read once. */
const lookupsBeforeListing = 32;

/**
 * What crashes left in a store directory. A copy asks for thousands of names that are, nearly always, not there, and
 * each lookup waits for whoever writes to the directory; so after a while it is listed instead. A listing may miss what
 * another process leaves behind later: whoever is in the way then shows itself when the name is to be used.
 */
export class Leftovers {
  readonly #directory: string;
  #lookups = 0;
  #listed: Set<string> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Deletes what lies under these names, if anything does. Their owners' locks are held. */
  async remove(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!this.#mayExist(name)) continue;
      await deleteTree(`${this.#directory}/${name}`);
      this.#listed?.delete(name);
    }
  }

  #mayExist(name: string): boolean {
    if (this.#listed === undefined && ++this.#lookups > lookupsBeforeListing) {
      this.#listed = new Set(readdirSync(this.#directory));
    }
    if (this.#listed !== undefined) return this.#listed.has(name);
    return lstatSync(`${this.#directory}/${name}`, { throwIfNoEntry: false }) !== undefined;
  }
}
