import { loadConfig, type ServerConfig } from '@larder/cache-server/config';
import { openLog } from '@larder/cache-server/logger';
import { type Foundation, openFoundation } from '@larder/cache-server/start';
import type { Command } from 'commander';

/** Which server's database and storage. */
export interface ServerPlace {
  readonly config?: string;
  readonly data?: string;
}

export function addPlaceOptions(command: Command): Command {
  return command
    .option('--config <file>', "the server's larder.toml")
    .option('--data <dir>', "the server's data directory");
}

export function readServerConfig({ config: file, data }: ServerPlace): Promise<ServerConfig> {
  return loadConfig({
    ...(file === undefined ? {} : { file }),
    ...(data === undefined ? {} : { overrides: { data } }),
  });
}

/** Opens a server's database and storage, with its log silent: standard output is for the result. */
export async function withFoundation<T>(
  place: ServerPlace,
  work: (foundation: Foundation) => Promise<T>,
): Promise<T> {
  const config = await readServerConfig(place);
  await using log = openLog({ ...config.log, level: 'silent' });
  await using foundation = await openFoundation(config, log.logger);
  return await work(foundation);
}
