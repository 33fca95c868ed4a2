import { z } from 'zod';
import { checkDatabase } from '../database/database.js';
import type { OpenRoute } from './route.js';
import type { Services } from './services.js';

const check = z.enum(['ok', 'failed']);
const readiness = z.object({
  status: z.enum(['ok', 'failed', 'stopping']),
  database: check.optional(),
  storage: check.optional(),
});

/** For load balancers and supervisors. */
export function healthRoutes({ database, storage, logger, isStopping }: Services): OpenRoute[] {
  return [
    {
      // Whether the process lives: nothing outside it is asked, lest a slow storage get it restarted.
      method: 'GET',
      path: '/healthz',
      access: 'open',
      about: {
        summary: 'Whether the process lives',
        group: 'operations',
        answers: { 200: { what: 'It does', json: z.object({ status: z.literal('ok') }) } },
      },
      handle: (context) => context.json({ status: 'ok' }),
    },
    {
      // Whether it should get requests.
      method: 'GET',
      path: '/readyz',
      access: 'open',
      about: {
        summary: 'Whether this replica should get requests',
        group: 'operations',
        answers: {
          200: { what: 'It should', json: readiness },
          503: { what: 'It stops, or cannot reach its database or storage', json: readiness },
        },
      },
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
