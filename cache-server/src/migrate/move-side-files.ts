import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import { Realisations } from '../publish/realisations.js';
import { parseDerivationName, SideFiles } from '../publish/side-files.js';
import type { Foundation } from '../start.js';
import { objectKeys } from '../storage/object-key.js';
import type { MigratingSideFile, MigrationSource, RefusedPath } from './migration-source.js';
import { isPathsOwn } from './refusal.js';

/** Moved at once: enough to hide the latency of a bucket. */
const AT_ONCE = 16;

/**
 * Takes the logs and realisations of a cache elsewhere into one here. As with uploads, nobody vouches for them: they are kept as
 * they come, realisations with their signatures. A log that is here stays.
 * @returns how many were read, and those that are not what their names say
 */
export async function moveSideFiles(
  foundation: Foundation,
  cache: Cache,
  source: MigrationSource,
): Promise<{ readonly moved: number; readonly refused: readonly RefusedPath[] }> {
  const mover = new SideFileMover(foundation, cache);
  const refused: RefusedPath[] = [];
  let moved = 0;
  const move = async (file: MigratingSideFile): Promise<void> => {
    try {
      if (await mover.move(file)) moved++;
    } catch (error) {
      if (!isPathsOwn(error)) throw error;
      refused.push({ path: file.name, why: error.message });
    }
  };
  let batch: MigratingSideFile[] = [];
  for await (const file of source.sideFiles?.() ?? []) {
    if (batch.push(file) < AT_ONCE) continue;
    await Promise.all(batch.map(move));
    batch = [];
  }
  await Promise.all(batch.map(move));
  return { moved, refused };
}

class SideFileMover {
  readonly #foundation: Foundation;
  readonly #cache: Cache;
  readonly #logs: SideFiles;
  readonly #realisations: Realisations;

  constructor(foundation: Foundation, cache: Cache) {
    this.#foundation = foundation;
    this.#cache = cache;
    this.#logs = new SideFiles(foundation);
    this.#realisations = new Realisations(foundation.storage);
  }

  /** Whether it was not here, or may have been with less in it. */
  async move({ name, read }: MigratingSideFile): Promise<boolean> {
    const [, log] = /^log\/([^/]+)$/.exec(name) ?? [];
    if (log !== undefined) return this.#moveLog(log, read);
    const [, id] = /^realisations\/([^/]+)\.doi$/.exec(name) ?? [];
    const [, derivation, output] = /^build-trace-v2\/([^/]+)\/([^/]+)\.doi$/.exec(name) ?? [];
    if (id === undefined && (derivation === undefined || output === undefined)) return false;
    const bytes = await read();
    if (bytes === undefined) return false;
    const text = Buffer.from(bytes).toString('utf8');
    if (id !== undefined) await this.#realisations.put(this.#cache, id, text);
    else if (derivation !== undefined && output !== undefined)
      await this.#realisations.putBuildTrace(
        this.#cache,
        { derivation: parseDerivationName(derivation), output },
        text,
      );
    return true;
  }

  async #moveLog(name: string, read: MigratingSideFile['read']): Promise<boolean> {
    const { storage, config } = this.#foundation;
    const derivation = parseDerivationName(name);
    if ((await storage.head(objectKeys.log(this.#cache.name, derivation))) !== undefined) return false;
    const bytes = await read();
    if (bytes === undefined) return false;
    if (bytes.length > config.limits.log)
      throw new ServerError(
        'body-too-large',
        `it has ${bytes.length} bytes, and limits.log is ${config.limits.log}`,
      );
    await this.#logs.putLog(this.#cache, derivation, bytes);
    return true;
  }
}
