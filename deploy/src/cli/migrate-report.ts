import type { Migration } from '@larder/cache-server/migrate/migration';
import type { RefusedPath } from '@larder/cache-server/migrate/migration-source';
import { formatBytes } from './units.js';

/** Seconds between two remarks on how it goes. */
const PAUSE = 10;

/** Tells of a migration: refused paths on standard output as they are met, how it goes on standard error. */
export class MigrationReporter {
  readonly #quiet: boolean;
  #told = performance.now();

  /** @param quiet for whoever prints JSON at the end */
  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  readonly onRefused = (cache: string, refused: RefusedPath): void => {
    if (!this.#quiet) process.stdout.write(describeRefused(cache, refused));
  };

  readonly onProgress = (cache: string, migration: Migration): void => {
    if (performance.now() - this.#told < PAUSE * 1000) return;
    this.#told = performance.now();
    const { paths, published, present, refused, bytes } = migration;
    const done = published + present + refused.length;
    process.stderr.write(`larder: ${cache}: ${done} of ${paths} paths, ${formatBytes(bytes)} of NARs\n`);
  };
}

export function describeRefused(cache: string, { path, why }: RefusedPath): string {
  return `${cache}: left out ${path}: ${why}\n`;
}

/** A line of what was done, or would be. */
export function describeMigration(migration: Migration, isDry: boolean): string {
  const { published, present, refused, nars, bytes, shared, sideFiles, outside } = migration;
  const parts = [
    `${published} paths ${isDry ? 'to move' : 'moved'}`,
    `${present} were there`,
    `${refused.length} left out`,
    `${nars} NARs of ${formatBytes(bytes)} ${isDry ? 'to read' : 'read'}`,
    ...(isDry && outside > 0 ? [`${outside} paths are referred to and not there`] : []),
    ...(sideFiles > 0 ? [`${sideFiles} logs and realisations`] : []),
    ...(shared > 0 ? [`${shared} NARs shared with other caches`] : []),
  ];
  return parts.join(', ');
}
