import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { z } from 'zod';
import { ServerError } from '../errors.js';
import type { OpenRoute, Route } from './route.js';

const DOCUMENT = '/api/v1/openapi.json';

/** Of the package swagger-ui-dist, served from where it is installed. */
const ASSETS: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
};

/** Nothing but this server's own files; Swagger UI writes styles into its elements and has images in data URLs. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Larder: the HTTP API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`;
const START = `SwaggerUIBundle({ url: '${DOCUMENT}', dom_id: '#api', deepLinking: true, docExpansion: 'list' });\n`;

/**
 * The OpenAPI document, made of the routes themselves, and a page to browse it.
 * @param routes gives all routes, these included
 */
export function documentRoutes(routes: () => readonly Route[]): OpenRoute[] {
  let document: Promise<unknown> | undefined;
  // Its generator is loaded for the first who asks.
  const describe = () =>
    (document ??= import('./openapi.js').then(({ describeRoutes }) => describeRoutes(routes())));
  return [
    {
      method: 'GET',
      path: DOCUMENT,
      access: 'open',
      about: {
        summary: 'This API as an OpenAPI document',
        group: 'operations',
        answers: { 200: { what: 'OpenAPI 3.1', json: z.looseObject({ openapi: z.string() }) } },
      },
      handle: async (context) =>
        context.json(await describe(), 200, {
          'Cache-Control': 'no-cache',
          'Access-Control-Allow-Origin': '*',
        }),
    },
    {
      method: 'GET',
      path: '/docs',
      access: 'open',
      about: {
        summary: 'This API, to browse',
        group: 'operations',
        answers: { 200: { what: 'The page', type: 'text/html' } },
      },
      handle: (context) => context.html(PAGE, 200, { 'Content-Security-Policy': POLICY, ...SNIFF }),
    },
    {
      method: 'GET',
      path: '/docs/:asset',
      access: 'open',
      about: {
        summary: 'What the page is made of',
        group: 'operations',
        answers: { 200: { what: 'Styles, scripts and images', type: '*/*' } },
      },
      async handle(context) {
        const name = context.req.param('asset') ?? '';
        if (name === 'start.js')
          return context.body(START, 200, { 'Content-Type': ASSETS['swagger-ui-bundle.js'] ?? '', ...SNIFF });
        const type = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
        if (type === undefined) throw new ServerError('not-found', `there is no ${context.req.path}`);
        const file = join(
          dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')),
          name,
        );
        const { outgoing, incoming } = context.env;
        outgoing.writeHead(200, {
          'Content-Type': type,
          'Content-Length': (await stat(file)).size,
          'Cache-Control': 'public, max-age=3600',
          ...SNIFF,
        });
        if (incoming.method === 'HEAD') outgoing.end();
        else await pipeline(createReadStream(file), outgoing);
        return RESPONSE_ALREADY_SENT;
      },
    },
  ];
}

const SNIFF = { 'X-Content-Type-Options': 'nosniff' };
