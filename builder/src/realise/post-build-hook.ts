import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { BuildContext } from '../build-job.js';
import type { BuildListener } from './build-event.js';

export interface PostBuildHookOptions {
  readonly derivation: StorePath;
  readonly outputs: Iterable<StorePath>;
  readonly onEvent: BuildListener;
  readonly signal: AbortSignal;
}

/**
 * Runs the program of the setting `post-build-hook` after a build, with `DRV_PATH` and `OUT_PATHS` in its
 * environment. Reference: nix.conf(5).
 * @throws `hook-failed`: the build is done, and counts as failed all the same
 */
export async function runPostBuildHook(context: BuildContext, options: PostBuildHookOptions): Promise<void> {
  const { store, settings, hostEnvironment } = context;
  const program = settings.postBuildHook;
  if (program === '') return;
  const { derivation, onEvent, signal } = options;
  const outputs = [...options.outputs].map((path) => store.storeDir.format(path)).sort();
  onEvent({ type: 'hook-started', derivation, program });
  const child = spawn(program, [], {
    env: {
      ...hostEnvironment,
      DRV_PATH: store.storeDir.format(derivation),
      OUT_PATHS: outputs.join(' '),
      // Nix hands all its settings over; what a hook cannot find out otherwise is which store this is.
      NIX_CONFIG: `${hostEnvironment.NIX_CONFIG ?? ''}\nstore = ${store.uri}\n`,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => onEvent({ type: 'hook-log', derivation, line }));
  const status = await new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ?? code ?? 1));
  });
  onEvent({ type: 'hook-finished', derivation });
  if (status !== 0)
    throw new LarderError('hook-failed', `the post-build-hook '${program}' failed (${status})`);
}
