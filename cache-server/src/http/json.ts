import type { ServerConfig } from '../config.js';
import { ServerError } from '../errors.js';
import { collectBody } from './body.js';
import type { RouteContext } from './route.js';

/** Objects and arrays in one request: thrice what a commit of as many paths as may be has. */
const MOST_VALUES = 1_000_000;

/** A request's body as JSON. @throws `request-malformed`, `body-too-large` */
export async function readJson(context: RouteContext, { limits, timeouts }: ServerConfig): Promise<unknown> {
  const body = await collectBody(context.env.incoming, { limit: limits.json, idle: timeouts.idle });
  refuseCrowds(body);
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new ServerError('request-malformed', 'the request is not JSON', { cause: error });
  }
}

/** Two bytes can become an object of fifty: what is allowed as text must not be gigabytes once it is read. */
function refuseCrowds(body: Buffer): void {
  let count = 0;
  for (const opening of ['{', '['])
    for (let at = body.indexOf(opening); at >= 0; at = body.indexOf(opening, at + 1)) count++;
  if (count > MOST_VALUES)
    throw new ServerError(
      'body-too-large',
      `the request has more than the ${MOST_VALUES} objects and arrays allowed; send it in parts`,
    );
}
