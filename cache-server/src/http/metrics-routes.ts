import { ServerError } from '../errors.js';
import type { ServerRoute } from './route.js';
import type { Services } from './services.js';

/** For Prometheus. The names of caches are in there: `metrics.listen` has them on a port of their own, without a token. */
export function metricsRoutes({ metrics }: Services): ServerRoute[] {
  return [
    {
      method: 'GET',
      path: '/metrics',
      access: 'server-admin',
      about: {
        summary: 'Metrics of this server',
        group: 'operations',
        answers: { 200: { what: 'The text format of Prometheus', type: 'text/plain' } },
      },
      async handle(context) {
        if (metrics === undefined) throw new ServerError('not-found', 'metrics are turned off');
        const { registry } = metrics;
        return context.body(await metrics.text(), 200, {
          'Content-Type': registry.contentType,
          'Cache-Control': 'no-store',
        });
      },
    },
  ];
}
