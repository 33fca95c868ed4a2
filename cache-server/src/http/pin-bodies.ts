import { z } from 'zod';

/** The bodies of the pin API. */

const MAX_PATHS = 1000;

export const pinBody = z.strictObject({
  /** Base names of store paths, which must be in the cache. */
  paths: z.array(z.string()).min(1).max(MAX_PATHS),
  /** Newest revisions to keep; null for the cache's own setting; absent to leave it as it is. */
  keepLast: z.int().min(1).max(100_000).nullish(),
  /** Seconds that each revision is kept at least; null for none; absent to leave it as it is. */
  keepFor: z.int().min(1).max(3_000_000_000).nullish(),
});

export interface PinRevisionDescription {
  readonly revision: number;
  /** Base names. */
  readonly paths: readonly string[];
  /** ISO 8601. */
  readonly createdAt: string;
  /** The name of the token that made it. */
  readonly createdBy?: string;
  /** Whether it keeps its paths from being collected. */
  readonly kept: boolean;
}

export interface PinDescription {
  readonly name: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly keepLast?: number;
  /** Seconds. */
  readonly keepFor?: number;
  /** Newest first; where pins are listed, only the newest of each. */
  readonly revisions: readonly PinRevisionDescription[];
}

export interface PinList {
  readonly pins: readonly PinDescription[];
}
