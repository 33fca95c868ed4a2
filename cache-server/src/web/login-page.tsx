import type { FC } from 'hono/jsx';
import { z } from 'zod';
import { recordOf } from '../http/request-record.js';
import type { OpenRoute, RouteContext, ServerRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { sendPage } from './page.js';
import { readForm, readOwnForm } from './read-form.js';
import { checkSameOrigin } from './sessions.js';

/** Logging in with a token: the form, and what it is sent to. */
export function loginRoutes(services: Services): OpenRoute[] {
  return [
    {
      method: 'GET',
      path: '/login',
      access: 'open',
      isPage: true,
      about: {
        summary: 'Log in with a token',
        group: 'pages',
        query: { next: { what: 'The page to go to then', schema: z.string() } },
        answers: { 200: { what: 'The page', type: 'text/html' } },
      },
      handle: (context) =>
        sendPage(context, services, {
          title: 'Log in – Larder',
          body: (
            <Login
              next={nextPage(context.req.query('next'))}
              hasFailed={context.req.query('failed') === ''}
            />
          ),
        }),
    },
    {
      method: 'POST',
      path: '/login',
      access: 'open',
      isPage: true,
      about: {
        summary: 'Log in with a token',
        group: 'pages',
        body: { type: 'application/x-www-form-urlencoded' },
        answers: { 303: { what: 'To the page that was asked for, or back to the form' } },
      },
      handle: (context) => logIn(context, services),
    },
  ];
}

async function logIn(context: RouteContext, services: Services): Promise<Response> {
  const form = await readForm(context, services);
  const next = nextPage(form.get('next') ?? undefined);
  try {
    // Nobody is to be logged in with somebody else's token by another site.
    checkSameOrigin(context, services.config.public_url);
    const token = await services.gate.identify(`Bearer ${(form.get('token') ?? '').trim()}`);
    const record = recordOf(context.env.incoming);
    record.token = token;
    await services.sessions.begin(context, token);
    await services.audit.record({
      at: Date.now(),
      token_id: token.id ?? null,
      token_name: token.name,
      address: context.env.incoming.socket.remoteAddress ?? null,
      cache: null,
      action: 'POST /login',
      target: '/login',
      status: 303,
      request: record.id,
    });
    return context.redirect(next, 303);
  } catch (error) {
    recordOf(context.env.incoming).error = error;
    return context.redirect(`/login?failed&next=${encodeURIComponent(next)}`, 303);
  }
}

/** A page of this server, and nothing that a browser takes for another. */
function nextPage(path: string | undefined): string {
  return path !== undefined && /^\/(?![/\\])[\x21-\x7e]*$/.test(path) && !path.startsWith('/login')
    ? path
    : '/';
}

const Login: FC<{ next: string; hasFailed: boolean }> = ({ next, hasFailed }) => (
  <>
    <h1>Log in</h1>
    <p class="lead">
      With a token you see the caches that it is for. It is kept by nobody: your browser gets a signed cookie.
    </p>
    {hasFailed && (
      <p class="say bad" role="alert">
        This token is not known here, has expired or was revoked.
      </p>
    )}
    <form class="form" method="post" action="/login">
      <input type="hidden" name="next" value={next} />
      <label>
        Token
        <input
          name="token"
          type="password"
          autocomplete="current-password"
          required
          autofocus
          spellcheck={false}
        />
        <small>
          It begins with <code>larder_</code>.
        </small>
      </label>
      <button type="submit">Log in</button>
    </form>
  </>
);

/** Logging out: the cookie goes. The token stays in force. */
export function logoutRoute(services: Services): ServerRoute {
  return {
    method: 'POST',
    path: '/login/end',
    access: 'token',
    isPage: true,
    about: {
      summary: 'Log out',
      group: 'pages',
      body: { type: 'application/x-www-form-urlencoded' },
      answers: { 303: { what: 'To the list of caches' } },
    },
    async handle(context) {
      await readOwnForm(context, services);
      services.sessions.end(context);
      return context.redirect('/', 303);
    },
  };
}
