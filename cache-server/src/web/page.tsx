import type { Child, FC, PropsWithChildren } from 'hono/jsx';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { isServerAdmin } from '../auth/access.js';
import type { Cache } from '../caches/cache.js';
import type { RouteContext } from '../http/route.js';
import type { Services } from '../http/services.js';
import { iconUrl, scriptUrl, styleUrl } from './assets.js';
import type { Session } from './sessions.js';

/** Nothing but our own stylesheet, script and icon, and forms that go to us. */
const POLICY =
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
  "frame-ancestors 'none'";

export interface PageContents {
  /** In the browser's title. */
  readonly title: string;
  readonly body: Child;
  /** The cache that the page is about, which its search box searches. */
  readonly cache?: Cache;
  /** What is in the search box. */
  readonly question?: string;
  readonly status?: ContentfulStatusCode;
}

/** Sends a page in the frame that all have. */
export async function sendPage(
  context: RouteContext,
  { sessions }: Pick<Services, 'sessions'>,
  { status = 200, body, ...frame }: PageContents,
): Promise<Response> {
  const session = await sessions.find(context);
  const page = (
    <Frame {...frame} session={session} here={context.req.path}>
      {body}
    </Frame>
  );
  return context.html(`<!doctype html>${String(await page)}`, status, pageHeaders);
}

/** Pages tell what one person may see, and change at any time. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy': POLICY,
  'Cache-Control': 'private, no-cache',
  Vary: 'Cookie, Authorization',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'same-origin',
};

type FrameProps = PropsWithChildren<
  Omit<PageContents, 'body' | 'status'> & { readonly session: Session | undefined; readonly here: string }
>;

const Frame: FC<FrameProps> = ({ title, cache, question, session, here, children }) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>{title}</title>
      <link rel="icon" href={iconUrl} type="image/svg+xml" />
      <link rel="stylesheet" href={styleUrl} />
      <script src={scriptUrl} defer />
    </head>
    <body>
      <a class="skip" href="#main">
        Skip to the contents
      </a>
      <header class="top">
        <div>
          <a class="brand" href="/">
            <Jar />
            Larder
          </a>
          {cache !== undefined && <SearchBox cache={cache} question={question} />}
          <Account session={session} here={here} />
        </div>
      </header>
      <main id="main">{children}</main>
      <footer>
        <a href="/docs">HTTP API</a>
        <span class="keys">
          <a href="#keys" data-help="">
            Keyboard
          </a>{' '}
          <kbd>?</kbd>
        </span>
      </footer>
      <Help />
    </body>
  </html>
);

const Jar: FC = () => (
  <svg
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="2"
    stroke-linejoin="round"
    stroke-linecap="round"
    aria-hidden="true"
  >
    <path d="M7 3h10v3.200c2 .9 3 2.600 3 4.800V18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3v-7c0-2.200 1-3.900 3-4.800z" />
    <path d="M6 6.200h12M8 12h8M8 16h5" />
  </svg>
);

const SearchBox: FC<{ cache: Cache; question: string | undefined }> = ({ cache, question }) => (
  <search>
    <form action={`/${cache.name}/search`}>
      <input
        type="search"
        name="q"
        value={question}
        placeholder={`Search ${cache.name}: name or hash`}
        aria-label={`Search ${cache.name} by name or hash`}
        autocomplete="off"
        spellcheck={false}
      />
      <span class="hint" aria-hidden="true">
        /
      </span>
    </form>
  </search>
);

const Account: FC<{ session: Session | undefined; here: string }> = ({ session, here }) => (
  <nav aria-label="Account">
    {session === undefined ? (
      <a href={here.startsWith('/login') ? '/login' : `/login?next=${encodeURIComponent(here)}`}>Log in</a>
    ) : (
      <>
        {isServerAdmin(session.token) && <a href="/admin/tokens">Tokens</a>}
        <form method="post" action="/login/end">
          <input type="hidden" name="key" value={session.formKey} />
          <button class="plain" type="submit" title={`Logged in with the token '${session.token.name}'`}>
            Log out
          </button>
        </form>
      </>
    )}
  </nav>
);

const Help: FC = () => (
  <dialog aria-labelledby="keys">
    <h2 id="keys">Keyboard</h2>
    <dl>
      <dt>
        <kbd>/</kbd>
      </dt>
      <dd>search</dd>
      <dt>
        <kbd>j</kbd> <kbd>k</kbd>
      </dt>
      <dd>next and previous in a list</dd>
      <dt>
        <kbd>g</kbd> <kbd>G</kbd>
      </dt>
      <dd>first and last</dd>
      <dt>
        <kbd>Enter</kbd>
      </dt>
      <dd>open it</dd>
      <dt>
        <kbd>u</kbd> <kbd>h</kbd>
      </dt>
      <dd>up, and home</dd>
      <dt>
        <kbd>?</kbd> <kbd>Esc</kbd>
      </dt>
      <dd>this, and away with it</dd>
    </dl>
  </dialog>
);

/** Where a page is: links to what is above it. */
export const Crumbs: FC<{ of: readonly (readonly [name: string, url: string])[] }> = ({ of }) => (
  <nav class="crumbs" aria-label="Breadcrumbs">
    <a href="/">Caches</a>
    {of.map(([name, url]) => (
      <>
        <span aria-hidden="true">/</span>
        <a href={url}>{name}</a>
      </>
    ))}
  </nav>
);

/** The pages of one thing. */
export const Tabs: FC<{
  label: string;
  of: readonly (readonly [name: string, url: string])[];
  current: string;
}> = ({ label, of, current }) => (
  <nav class="tabs" aria-label={label}>
    {of.map(([name, url]) => (
      <a href={url} aria-current={name === current ? 'page' : undefined}>
        {name}
      </a>
    ))}
  </nav>
);

/** Text to copy. */
export const Copy: FC<{ text: string }> = ({ text }) => (
  <div class="copy">
    <pre tabindex={0}>{text}</pre>
  </div>
);

/** Figures at the head of a page. */
export const Figures: FC<{ of: readonly (readonly [name: string, value: Child] | undefined)[] }> = ({
  of,
}) => (
  <dl class="figures">
    {of.map(
      (figure) =>
        figure !== undefined && (
          <div>
            <dt>{figure[0]}</dt>
            <dd>{figure[1]}</dd>
          </div>
        ),
    )}
  </dl>
);
