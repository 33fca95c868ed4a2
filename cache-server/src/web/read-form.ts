import { collectBody } from '../http/body.js';
import type { RouteContext } from '../http/route.js';
import type { Services } from '../http/services.js';
import { checkFormKey, checkSameOrigin, type Session } from './sessions.js';

/** Forms are small. */
const MAX_FORM = 64 * 1024;

/** A form that was sent. @throws `body-too-large` */
export async function readForm(context: RouteContext, services: Services): Promise<URLSearchParams> {
  const body = await collectBody(context, services, MAX_FORM);
  return new URLSearchParams(body.toString('utf8'));
}

/**
 * A form that changes something, after checking that it came from a page of the session. Whoever sends a token along is no
 * browser, and needs no such proof.
 * @throws `forbidden`
 */
export async function readOwnForm(
  context: RouteContext,
  services: Services,
): Promise<{ readonly form: URLSearchParams; readonly session: Session | undefined }> {
  const form = await readForm(context, services);
  if (context.env.incoming.headers.authorization !== undefined) return { form, session: undefined };
  checkSameOrigin(context, services.config.public_url);
  const session = await services.sessions.find(context);
  if (session !== undefined) checkFormKey(session, form.get('key'));
  return { form, session };
}
