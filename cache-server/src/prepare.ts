import type { Logger } from 'pino';
import { type Bootstrapped, bootstrap } from './bootstrap.js';
import type { ServerConfig } from './config.js';
import { openFoundation, openStorage } from './start.js';
import { S3Storage } from './storage/s3.js';

/**
 * Does what a server does before it takes requests, for deployments that want it done once, before their replicas start: the
 * tables are brought up to date, and an empty database gets its first cache and token. Doing it again changes nothing.
 * @throws what `openFoundation` throws
 */
export async function prepareServer(
  config: ServerConfig,
  logger: Logger,
  options: { readonly createBucket?: boolean } = {},
): Promise<Bootstrapped> {
  if (options.createBucket === true) {
    await using storage = await openStorage(config);
    if (storage instanceof S3Storage) await storage.createBucket();
  }
  await using foundation = await openFoundation(config, logger);
  return await bootstrap(foundation);
}
