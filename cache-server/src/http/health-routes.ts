import { checkDatabase } from '../database/database.js';
import type { OpenRoute } from './route.js';
import type { Services } from './services.js';

/** For load balancers and supervisors. */
export function healthRoutes({ database, storage, logger, isStopping }: Services): OpenRoute[] {
  return [
    {
      // Whether the process lives: nothing outside it is asked, lest a slow storage get it restarted.
      method: 'GET',
      path: '/healthz',
      access: 'open',
      handle: (context) => context.json({ status: 'ok' }),
    },
    {
      // Whether it should get requests.
      method: 'GET',
      path: '/readyz',
      access: 'open',
      async handle(context) {
        if (isStopping()) return context.json({ status: 'stopping' }, 503);
        const checks = { database: () => checkDatabase(database), storage: () => storage.check() };
        const results = await Promise.all(
          Object.entries(checks).map(async ([name, check]) => {
            try {
              await check();
              return [name, 'ok'] as const;
            } catch (error) {
              logger.warn({ check: name, err: error }, 'not ready');
              return [name, 'failed'] as const;
            }
          }),
        );
        const isReady = results.every(([, result]) => result === 'ok');
        const status = isReady ? 'ok' : 'failed';
        return context.json({ status, ...Object.fromEntries(results) }, isReady ? 200 : 503);
      },
    },
  ];
}
