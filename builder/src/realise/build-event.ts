import type { StorePath } from '@larder/signing/store-path';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import type { BuildFailure } from '../build-failure.js';
import type { BuildMode } from '../build-job.js';
import type { Plan } from './planner.js';

/** What happens while paths are realised, for whoever shows it. */
export type BuildEvent =
  | { readonly type: 'planned'; readonly plan: Plan }
  | {
      readonly type: 'build-started';
      readonly derivation: StorePath;
      readonly mode: BuildMode;
      /** Another machine that does it. */
      readonly machine?: string;
    }
  | { readonly type: 'build-log'; readonly derivation: StorePath; readonly line: string }
  | { readonly type: 'build-phase'; readonly derivation: StorePath; readonly phase: string }
  | { readonly type: 'build-finished'; readonly derivation: StorePath; readonly seconds: number }
  | { readonly type: 'build-failed'; readonly derivation: StorePath; readonly error: BuildFailure }
  | { readonly type: 'hook-started'; readonly derivation: StorePath; readonly program: string }
  | { readonly type: 'hook-log'; readonly derivation: StorePath; readonly line: string }
  | { readonly type: 'hook-finished'; readonly derivation: StorePath }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'copy'; readonly event: CopyEvent };

export type BuildListener = (event: BuildEvent) => void;
