import { ServerError } from '../errors.js';
import { collectBody } from './body.js';
import { recordOf } from './request-record.js';
import type { RouteContext } from './route.js';
import type { Services } from './services.js';

/** Objects and arrays in one request: thrice what a commit of as many paths as may be has. */
const MOST_VALUES = 1_000_000;

/** What the text and its values take, for each byte of a body. */
const EXPANSION = 2;

/** A request's body as JSON. @throws `request-malformed`, `body-too-large`, `overloaded` */
export async function readJson(
  context: RouteContext,
  services: Pick<Services, 'bodies' | 'config'>,
): Promise<unknown> {
  return parseJson(await readText(context, services));
}

/** On its own, so that the bytes are not kept beside the text. */
async function readText(
  context: RouteContext,
  services: Pick<Services, 'bodies' | 'config'>,
): Promise<string> {
  const body = await collectBody(context, services, services.config.limits.json);
  refuseCrowds(body);
  await recordOf(context.env.incoming).body?.expand(EXPANSION * body.length);
  return body.toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
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
