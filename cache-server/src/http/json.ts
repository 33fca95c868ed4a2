import type { ServerConfig } from '../config.js';
import { ServerError } from '../errors.js';
import { collectBody } from './body.js';
import type { RouteContext } from './route.js';

/** A request's body as JSON. @throws `request-malformed`, `body-too-large` */
export async function readJson(context: RouteContext, { limits, timeouts }: ServerConfig): Promise<unknown> {
  const body = await collectBody(context.env.incoming, { limit: limits.json, idle: timeouts.idle });
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new ServerError('request-malformed', 'the request is not JSON', { cause: error });
  }
}
