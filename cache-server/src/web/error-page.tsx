import type { FC } from 'hono/jsx';
import { describeError } from '../http/errors.js';
import type { RouteContext } from '../http/route.js';
import type { Services } from '../http/services.js';
import { sendPage } from './page.js';

const TITLES: Readonly<Record<number, string>> = {
  400: 'This request is not one',
  401: 'Log in to see this',
  403: 'This is not for you',
  404: 'There is nothing here',
  429: 'Too many requests',
};

/** What went wrong, as a page. */
export async function sendErrorPage(
  context: RouteContext,
  services: Services,
  { error, requestId }: { readonly error: unknown; readonly requestId: string },
): Promise<Response> {
  const { status, body } = describeError(error, requestId);
  const title = TITLES[status] ?? (status >= 500 ? 'The server failed' : 'This cannot be done');
  const { message } = body.error;
  return sendPage(context, services, {
    title: `${title} – Larder`,
    status,
    body: (
      <Fault title={title} message={message} status={status} here={context.req.path} requestId={requestId} />
    ),
  });
}

interface FaultProps {
  readonly title: string;
  readonly message: string;
  readonly status: number;
  readonly here: string;
  readonly requestId: string;
}

const Fault: FC<FaultProps> = ({ title, message, status, here, requestId }) => (
  <>
    <h1>{title}</h1>
    {status === 401 ? (
      <p class="lead">
        It takes a token that may read it. <a href={`/login?next=${encodeURIComponent(here)}`}>Log in</a>, or
        go back to <a href="/">the caches</a> that are for everyone.
      </p>
    ) : (
      <>
        <p class="lead">{message.charAt(0).toUpperCase() + message.slice(1)}.</p>
        <p>
          <a href="/">The caches</a>
        </p>
      </>
    )}
    <p class="soft">
      Request <code>{requestId}</code>
    </p>
  </>
);
