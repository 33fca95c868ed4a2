import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';
import { generateToken, registerToken } from './auth/token.js';
import { queryTokens } from './database/tables/tokens.js';
import { ServerError } from './errors.js';
import { writePrivateFile } from './private-file.js';
import { reindex } from './reindex.js';
import type { Foundation } from './start.js';

/** What starting up had to make. */
export interface Bootstrapped {
  /** Names of the caches that were made, or found in the bucket. */
  readonly caches: readonly string[];
  /** The file with the admin token, where there is one. */
  readonly tokenFile?: string;
  /** Whether this start made the token. */
  readonly madeToken: boolean;
}

const FIRST_CACHE = 'main';

/**
 * Sees to it that there is something to serve and someone who may change it. An empty database is filled from the bucket; an
 * empty bucket gets a public cache `main`; where there is no token file yet, one is made with the first cache.
 */
export async function bootstrap(foundation: Foundation): Promise<Bootstrapped> {
  const { caches, config, logger, storage } = foundation;
  const made: string[] = [];
  const isFirst = (await caches.list()).length === 0;
  if (isFirst) {
    if ((await storage.listCaches()).length > 0) {
      logger.warn('the database is empty and the storage is not: rebuilding the index');
      await reindex(foundation);
      made.push(...(await caches.list()).map((cache) => cache.name));
    }
    if (made.length === 0) {
      const storeDir = new StoreDir(DEFAULT_STORE_DIR);
      const cache = await caches.create({ name: FIRST_CACHE, public: true, storeDir });
      const publicKeys = cache.publicKeys.map((key) => key.format());
      logger.info({ cache: cache.name, publicKeys }, 'made a public cache');
      made.push(cache.name);
    }
  }
  const given = config.admin_token_file;
  const tokenFile = given ?? join(config.data, 'admin-token');
  // Caches may have been migrated into a server that was never started.
  const isNew = isFirst || (await queryTokens(foundation.database.read)).length === 0;
  const token = await adminToken(foundation, tokenFile, { create: isNew && given === undefined });
  return { caches: made, ...token };
}

/**
 * The token file is honoured as long as it is there, also by a database that is new. Without the file, one is made only where
 * there is no token yet: a second replica has no need of one of its own.
 */
async function adminToken(
  { config, database, logger }: Foundation,
  file: string,
  { create }: { readonly create: boolean },
): Promise<Pick<Bootstrapped, 'tokenFile' | 'madeToken'>> {
  const madeToken = create && (await writePrivateFile(file, `${generateToken()}\n`));
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (config.admin_token_file === undefined) return undefined;
    throw new ServerError('config-malformed', `cannot read the admin token: ${String(error)}`, {
      cause: error,
    });
  });
  if (text === undefined) return { madeToken: false };
  checkTokenText(text.trim(), file);
  await registerToken(database, text.trim(), { name: 'admin-token file', caches: ['*'], scopes: ['admin'] });
  if (madeToken) logger.info({ file }, 'made an admin token');
  return { tokenFile: file, madeToken };
}

/** One that can be guessed is worse than none. */
function checkTokenText(text: string, file: string): void {
  if (/^\S{20,512}$/.test(text)) return;
  throw new ServerError(
    'token-malformed',
    `${file}: an admin token is a single word of at least 20 characters; 'openssl rand -hex 32' makes a good one`,
  );
}
