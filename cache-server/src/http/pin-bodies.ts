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

/** ISO 8601. */
const time = z.iso.datetime();

const pinRevision = z.object({
  revision: z.int(),
  /** Base names. */
  paths: z.array(z.string()).readonly(),
  createdAt: time,
  createdBy: z.string().exactOptional().meta({ description: 'The name of the token that made it' }),
  kept: z.boolean().meta({ description: 'Whether it keeps its paths from being collected' }),
});
export type PinRevisionDescription = z.output<typeof pinRevision>;

export const pinDescription = z
  .object({
    name: z.string(),
    createdAt: time,
    keepLast: z.int().exactOptional(),
    keepFor: z.number().exactOptional().meta({ description: 'Seconds' }),
    revisions: z
      .array(pinRevision)
      .readonly()
      .meta({ description: 'Newest first; where pins are listed, only the newest of each' }),
  })
  .meta({ id: 'Pin' });
export type PinDescription = z.output<typeof pinDescription>;

export const pinList = z.object({ pins: z.array(pinDescription).readonly() });
export type PinList = z.output<typeof pinList>;
