import type { Cache } from '../caches/cache.js';
import type { Foundation } from '../start.js';
import type { BucketInventory } from './bucket-inventory.js';
import type { Checked, FaultKind } from './fsck.js';

/** NARs read at once. */
export const PARALLEL = 4;

/** What is compared, and who hears of it. */
export interface Scene {
  readonly foundation: Foundation;
  readonly cache: Cache;
  readonly bucket: BucketInventory;
  readonly checked: Checked;
  readonly report: (kind: FaultKind, name: string, why: string) => void;
  readonly isDeep: boolean;
}
