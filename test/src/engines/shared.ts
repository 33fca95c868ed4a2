import { formatSharedEngines } from './config.js';
import { startPostgres } from './postgres.js';
import { startS3 } from './s3.js';

export interface StartedEngines extends AsyncDisposable {
  /** What a test process needs in its environment to find them. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Starts one of each engine for a whole test run, but those that are `missing` on this machine. */
export async function startSharedEngines(missing: readonly string[]): Promise<StartedEngines> {
  const [s3, postgres] = await Promise.all([
    missing.includes('s3') ? undefined : startS3(),
    missing.includes('postgresql') ? undefined : startPostgres(),
  ]);
  return {
    environment: formatSharedEngines({ s3, postgres }),
    async [Symbol.asyncDispose]() {
      await Promise.all([s3?.[Symbol.asyncDispose](), postgres?.[Symbol.asyncDispose]()]);
    },
  };
}
