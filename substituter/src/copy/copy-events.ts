import type { StorePath } from '@larder/signing/store-path';

/** What happens during a copy, for whoever shows it. Sizes are bytes of unpacked NAR. */
export type CopyEvent =
  | { readonly type: 'planned'; readonly paths: number; readonly bytes: number }
  | { readonly type: 'started'; readonly path: StorePath; readonly bytes: number; readonly source: string }
  | { readonly type: 'progress'; readonly path: StorePath; readonly bytes: number }
  | {
      readonly type: 'finished';
      readonly path: StorePath;
      readonly bytes: number;
      /** Bytes that came for it, from a cache. */
      readonly fetched?: number;
      /** Whether they were a delta. */
      readonly delta?: boolean;
      /** Bytes of the whole archive as the cache has it. */
      readonly fileSize?: number;
    }
  | { readonly type: 'waiting'; readonly path: StorePath }
  | { readonly type: 'retried'; readonly path: StorePath; readonly source: string; readonly error: Error };

export type CopyListener = (event: CopyEvent) => void;
