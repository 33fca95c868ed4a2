import { z } from 'zod';

/** The bodies of the API of collections and of single paths. */

export const newCollectionBody = z.strictObject({
  /** Only find out what would go. */
  dryRun: z.boolean().default(false),
});

export interface CollectionDescription {
  readonly id: number;
  readonly state: 'planning' | 'withdrawing' | 'done' | 'failed';
  readonly dryRun: boolean;
  /** Paths that are to go, and the bytes of NARs that nothing needs then. They are deleted later: see `nar_lease`. */
  readonly plannedPaths: number;
  readonly plannedBytes: number;
  /** Paths that are gone: some that were planned are needed again by the time they are looked at. */
  readonly withdrawnPaths: number;
  /** NARs whose time was up, and their bytes as stored. */
  readonly deletedNars: number;
  readonly deletedBytes: number;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly finishedAt?: string;
  readonly error?: string;
}

export interface PlannedPath {
  /** Counts from 1: for the next page. */
  readonly number: number;
  /** A base name. */
  readonly path: string;
  /** Bytes of its NAR, if no other path has it. */
  readonly bytes: number;
  /** ISO 8601. */
  readonly lastUsedAt: string;
}

/** `GET …/collections/<id>?after=&limit=`. */
export interface CollectionPage extends CollectionDescription {
  /** Each after all that refer to it. Older collections keep no list. */
  readonly paths: readonly PlannedPath[];
}

export interface CollectionList {
  /** Newest first. */
  readonly collections: readonly CollectionDescription[];
}
