import { once } from 'node:events';
import { loadConfig } from '@larder/cache-server/config';
import { openLog } from '@larder/cache-server/logger';
import { announce, isSupervised, leave, stopRequested } from '@larder/cache-server/processes/supervised';
import { Supervisor } from '@larder/cache-server/processes/supervisor';
import { type RunningServer, startServer } from '@larder/cache-server/start';
import type { Command } from 'commander';
import { createVerb } from './command.js';

interface ServeOptions {
  readonly config?: string;
  readonly data?: string;
  readonly listen?: string;
  readonly processes?: number;
}

export function createCommand(): Command {
  return createVerb('serve', {
    summary:
      'Serve binary caches over HTTP. On an empty data directory it makes a public cache "main" with a signing key, and ' +
      'an admin token.',
    examples: [
      ['larder serve --data /var/lib/larder --listen 0.0.0.0:8080', 'an index in SQLite, NARs in a folder'],
      ['larder serve --config /etc/larder.toml', 'as configured: S3, PostgreSQL, limits, …'],
    ],
  })
    .option('--config <file>', 'a larder.toml; cache-server/larder.example.toml shows every key')
    .option('--data <dir>', 'where the server keeps what is its own (./larder-data)')
    .option('--listen <host:port>', 'where to take requests (127.0.0.1:8080); port 0 takes a free one')
    .option('--processes <count>', 'processes that share the address, each on a core of its own (1)', Number)
    .action(serve);
}

async function serve({ config: file, data, listen, processes }: ServeOptions): Promise<void> {
  const config = await loadConfig({
    ...(file === undefined ? {} : { file }),
    overrides: {
      ...(data === undefined ? {} : { data }),
      ...(listen === undefined ? {} : { listen }),
      ...(processes === undefined ? {} : { processes }),
    },
  });
  await using log = openLog(config.log);
  const stop = stopSignal();
  if (config.processes > 1 && !isSupervised()) {
    const supervisor = await Supervisor.start(config.processes, {
      logger: log.logger,
      onServing: (text) => process.stderr.write(text),
    });
    await stop;
    await supervisor.stop();
    return;
  }
  const server = await startServer(config, log.logger);
  if (isSupervised()) announce(greeting(server));
  else process.stderr.write(greeting(server));
  await stop;
  await server.close();
  leave();
}

/** Resolves when the process is told to end; asked a second time, it ends at once. */
async function stopSignal(): Promise<void> {
  const controller = new AbortController();
  const options = { signal: controller.signal };
  await Promise.race([
    once(process, 'SIGTERM', options),
    once(process, 'SIGINT', options),
    ...(isSupervised() ? [stopRequested()] : []),
  ]);
  controller.abort();
  // A supervisor, and what watches over it, may both say so.
  process.on('SIGTERM', () => undefined);
  process.once('SIGINT', () => process.exit(130));
}

function greeting({ url, bootstrapped }: RunningServer): string {
  const lines = bootstrapped.caches.map((cache) => `larder: made cache ${cache}: ${url}/${cache}`);
  if (bootstrapped.madeToken) lines.push(`larder: the admin token is in ${bootstrapped.tokenFile}`);
  return [...lines, `larder: serving ${url}`, ''].join('\n');
}
