import type { Command } from 'commander';
import { addClientOptions, type ClientOptions } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { addPublishOptions, type PublishOptions } from './push-options.js';
import { runWorker } from './queue.js';

interface HookOptions extends ClientOptions, PublishOptions {
  readonly queue?: string;
  readonly daemon?: boolean;
}

/** What a person sees of the verb; Nix comes by `post-build-hook-quick.ts`, which takes the same options. */
export function createCommand(): Command {
  const hook = createVerb('post-build-hook', {
    summary:
      "Queue what was just built for a cache, and return at once: the program of nix.conf's post-build-hook. It reads OUT_PATHS, never fails a build, and starts a worker that pushes, unless one runs.",
    examples: [
      [
        `printf '#!/bin/sh\\nexec larder post-build-hook https://cache.example.org/main --token-file /etc/larder/token\\n' > /etc/nix/push && chmod +x /etc/nix/push`,
        "make the program; 'post-build-hook = /etc/nix/push' in nix.conf then publishes every build",
      ],
      [
        'OUT_PATHS=/nix/store/…-hello-2.12 larder post-build-hook https://cache.example.org/main',
        'queue a path by hand',
      ],
      ['larder post-build-hook --daemon', "work the queue off, in the foreground (also 'larder queue run')"],
    ],
  })
    .argument('[cache]', 'where to publish')
    .option('--queue <file>', 'the queue; LARDER_QUEUE and a place of its own without it')
    .option('--no-start', 'start no worker')
    .option('--daemon', 'be the worker');
  return addPublishOptions(addClientOptions(hook)).action(
    async (cache: string | undefined, options: HookOptions) => {
      if (options.daemon === true) return runWorker(options);
      throw usageError(
        cache === undefined
          ? 'name the cache to publish to'
          : 'there is nothing to queue: Nix names what it built in the variable OUT_PATHS',
      );
    },
  );
}
