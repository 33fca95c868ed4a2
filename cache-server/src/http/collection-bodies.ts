import { z } from 'zod';

/** The bodies of the API of collections. */

export const newCollectionBody = z.strictObject({
  dryRun: z.boolean().default(false).meta({ description: 'Only find out what would go' }),
});

/** ISO 8601. */
const time = z.iso.datetime();

export const collectionDescription = z
  .object({
    id: z.int(),
    state: z.enum(['planning', 'withdrawing', 'done', 'failed']),
    dryRun: z.boolean(),
    plannedPaths: z.int().meta({ description: 'Paths that are to go' }),
    plannedBytes: z
      .int()
      .meta({ description: 'Bytes of NARs that nothing needs then; they are deleted later' }),
    withdrawnPaths: z.int().meta({
      description:
        'Paths that are gone: some that were planned may be needed again by the time they are looked at',
    }),
    deletedNars: z.int().meta({ description: 'NARs whose time was up' }),
    deletedBytes: z.int().meta({ description: 'Their bytes as stored' }),
    startedAt: time,
    finishedAt: time.exactOptional(),
    error: z.string().exactOptional(),
  })
  .meta({ id: 'Collection' });
export type CollectionDescription = z.output<typeof collectionDescription>;

const plannedPath = z.object({
  number: z.int().meta({ description: 'Counts from 1: for the next page' }),
  path: z.string().meta({ description: 'A base name' }),
  bytes: z.int().meta({ description: 'Of its NAR, if no other path has it' }),
  lastUsedAt: time,
});

/** `GET …/collections/<id>?after=&limit=`. */
export const collectionPage = z
  .object({
    ...collectionDescription.shape,
    paths: z
      .array(plannedPath)
      .readonly()
      .meta({ description: 'Each after all that refer to it; older collections keep no list' }),
  })
  .meta({ id: 'CollectionPage' });
export type CollectionPage = z.output<typeof collectionPage>;

export const collectionList = z.object({
  collections: z.array(collectionDescription).readonly().meta({ description: 'Newest first' }),
});
export type CollectionList = z.output<typeof collectionList>;
