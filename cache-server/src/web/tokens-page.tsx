import type { FC } from 'hono/jsx';
import { generateToken, registerToken, type Scope, scopes } from '../auth/token.js';
import { queryTokens, revokeToken, type TokenRow } from '../database/tables/tokens.js';
import { ServerError } from '../errors.js';
import { newTokenBody, parseBody } from '../http/admin-bodies.js';
import type { RouteContext, ServerRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { Copy, sendPage } from './page.js';
import { readOwnForm } from './read-form.js';
import { Ago } from './units.js';

const DAY = 86_400_000;
const FORM = 'application/x-www-form-urlencoded';

/** Tokens, for who runs the server: who may do what, making one, revoking one. */
export function tokenPageRoutes(services: Services): ServerRoute[] {
  const page = async (context: RouteContext, made?: MadeToken): Promise<Response> => {
    const session = await services.sessions.find(context);
    const rows = await queryTokens(services.database.read);
    return sendPage(context, services, {
      title: 'Tokens – Larder',
      body: <Tokens rows={rows.reverse()} formKey={session?.formKey ?? ''} made={made} />,
      ...(made === undefined ? {} : { status: 201 }),
    });
  };
  return [
    {
      method: 'GET',
      path: '/admin/tokens',
      access: 'server-admin',
      isPage: true,
      about: {
        summary: 'The tokens, as a page',
        group: 'pages',
        answers: { 200: { what: 'The page', type: 'text/html' } },
      },
      handle: (context) => page(context),
    },
    {
      method: 'POST',
      path: '/admin/tokens',
      access: 'server-admin',
      isPage: true,
      about: {
        summary: 'Make a token, with a form',
        group: 'pages',
        body: { type: FORM },
        answers: { 201: { what: 'The page, which tells the token this once', type: 'text/html' } },
      },
      async handle(context) {
        const { form } = await readOwnForm(context, services);
        const token = generateToken();
        const asked = parseNewToken(form);
        await registerToken(services.database, token, asked);
        return page(context, { name: asked.name, token });
      },
    },
    {
      method: 'POST',
      path: '/admin/tokens/:id{[0-9]{1,9}}/revoke',
      access: 'server-admin',
      isPage: true,
      about: {
        summary: 'Revoke a token, with a form',
        group: 'pages',
        body: { type: FORM },
        answers: { 303: { what: 'Back to the tokens' } },
      },
      async handle(context) {
        await readOwnForm(context, services);
        const id = Number(context.req.param('id'));
        if (!(await revokeToken(services.database.write, id)))
          throw new ServerError('not-found', `there is no token ${id}`);
        return context.redirect('/admin/tokens', 303);
      },
    },
  ];
}

interface MadeToken {
  readonly name: string;
  readonly token: string;
}

/** @throws `request-malformed` naming the field */
function parseNewToken(form: URLSearchParams): {
  readonly name: string;
  readonly caches: readonly string[];
  readonly scopes: readonly Scope[];
  readonly expiresAt?: number;
} {
  const { name, caches, scopes } = parseBody(newTokenBody, {
    name: (form.get('name') ?? '').trim(),
    caches: (form.get('caches') ?? '').split(/[\s,]+/).filter((each) => each !== ''),
    scopes: form.getAll('scope'),
  });
  const days = form.get('days') ?? '';
  if (!/^(\d{1,5})?$/.test(days))
    throw new ServerError('request-malformed', `'${days}' is no number of days`);
  return { name, caches, scopes, ...(days === '' ? {} : { expiresAt: Date.now() + Number(days) * DAY }) };
}

const Tokens: FC<{ rows: readonly TokenRow[]; formKey: string; made: MadeToken | undefined }> = ({
  rows,
  formKey,
  made,
}) => (
  <>
    <h1>Tokens</h1>
    <p class="lead">Who may do what. Only a hash of each is kept: a token is told once.</p>
    {made !== undefined && (
      <div class="say" role="status">
        <p>
          The token <strong>{made.name}</strong>. Copy it now; it is not shown again.
        </p>
        <Copy text={made.token} />
      </div>
    )}
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">May</th>
            <th scope="col">On</th>
            <th scope="col">Last used</th>
            <th scope="col">Ends</th>
            <th scope="col">
              <span class="soft">&nbsp;</span>
            </th>
          </tr>
        </thead>
        <tbody data-rows="">
          {rows.map((row) => (
            <TokenLine row={row} formKey={formKey} />
          ))}
        </tbody>
      </table>
    </div>
    <h2>Make one</h2>
    <NewToken formKey={formKey} />
  </>
);

const TokenLine: FC<{ row: TokenRow; formKey: string }> = ({ row, formKey }) => {
  const isOver = row.expires_at !== null && row.expires_at < Date.now();
  return (
    <tr>
      <td class="wide">
        <span class="name">{row.name}</span> <span class="mono">#{row.id}</span>
      </td>
      <td>{(JSON.parse(row.scopes) as string[]).join(', ')}</td>
      <td>
        <code>{(JSON.parse(row.caches) as string[]).join(' ')}</code>
      </td>
      <td class="when">{row.last_used_at === null ? 'never' : <Ago time={row.last_used_at} />}</td>
      <td class="when">
        {row.revoked_at !== null ? (
          <span class="badge bad">revoked</span>
        ) : row.expires_at === null ? (
          'never'
        ) : (
          <>
            {isOver && <span class="badge bad">over</span>} <Ago time={row.expires_at} />
          </>
        )}
      </td>
      <td>
        {row.revoked_at === null && !isOver && (
          <form method="post" action={`/admin/tokens/${row.id}/revoke`}>
            <input type="hidden" name="key" value={formKey} />
            <button class="plain danger" type="submit" aria-label={`Revoke the token ${row.name}`}>
              Revoke
            </button>
          </form>
        )}
      </td>
    </tr>
  );
};

const NewToken: FC<{ formKey: string }> = ({ formKey }) => (
  <form class="form" method="post" action="/admin/tokens">
    <input type="hidden" name="key" value={formKey} />
    <label>
      Name
      <input name="name" required maxlength={200} autocomplete="off" placeholder="ci of the web team" />
    </label>
    <label>
      Caches
      <input name="caches" required autocomplete="off" placeholder="main team-*" spellcheck={false} />
      <small>
        Names, between spaces; <code>*</code> stands for any run of characters.
      </small>
    </label>
    <fieldset>
      <legend>It may</legend>
      {scopes.map((scope) => (
        <label>
          <input type="checkbox" name="scope" value={scope} checked={scope === 'pull'} />
          {scope}
        </label>
      ))}
    </fieldset>
    <label>
      Ends after days
      <input name="days" inputmode="numeric" pattern="[0-9]{1,5}" value="90" autocomplete="off" />
      <small>Empty for never.</small>
    </label>
    <button type="submit">Make the token</button>
  </form>
);
