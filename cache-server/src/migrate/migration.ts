import type { RefusedPath } from './migration-source.js';
import type { PublicationOrder } from './publication-order.js';

/** What became of the paths of a cache that was taken over, or would. */
export interface Migration {
  /** All that the source has. */
  readonly paths: number;
  /** Shown here now. */
  published: number;
  /** Those that were. */
  present: number;
  readonly refused: RefusedPath[];
  /** Of the refused, those that refer to what is not here. */
  dangling: number;
  /** Paths that are referred to and are not in the source. */
  readonly outside: number;
  /** NARs that were read, checked and compressed anew. */
  nars: number;
  /** Their bytes, unpacked. */
  bytes: number;
  /** NARs that another cache here had already. */
  shared: number;
  /** Logs and realisations. */
  sideFiles: number;
}

export function sumUp({ size, outside }: PublicationOrder<unknown>): Migration {
  return {
    paths: size,
    published: 0,
    present: 0,
    refused: [],
    dangling: 0,
    outside,
    nars: 0,
    bytes: 0,
    shared: 0,
    sideFiles: 0,
  };
}
