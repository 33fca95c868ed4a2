import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type PathParameter, readRoutePath, templateOf } from './path-parameters.js';
import type { Route } from './route.js';
import { type AnswerDescription, type BodyDescription, routeGroups } from './route-description.js';
import { errorBody } from './wire-schemas.js';

type Json = Readonly<Record<string, unknown>>;

export interface OpenApiDocument extends Json {
  readonly openapi: string;
  /** By template, then by method in small letters. */
  readonly paths: Readonly<Record<string, Json>>;
}

const INTRODUCTION =
  'A token goes as `Authorization: Bearer`, or as the password of Basic, whatever the user is called. A private cache ' +
  'answers strangers as one that does not exist. Every GET can be a HEAD. Errors are JSON; `code` is for programs.';

const SCHEMAS = '#/components/schemas/';

/** The OpenAPI 3.1 document of these routes: https://spec.openapis.org/oas/v3.1.1 */
export function describeRoutes(routes: readonly Route[]): OpenApiDocument {
  return new DocumentWriter().write(routes);
}

/** Its schemas are JSON Schema 2020-12, which is what Zod writes. */
class DocumentWriter {
  readonly #schemas: Record<string, unknown> = {};

  write(routes: readonly Route[]): OpenApiDocument {
    const paths: Record<string, Record<string, unknown>> = {};
    for (const route of routes) {
      const template = templateOf(route.path);
      paths[template] = { ...paths[template], [route.method.toLowerCase()]: this.#operation(route) };
    }
    return {
      openapi: '3.1.0',
      info: {
        title: 'Larder',
        version: packageVersion(),
        description: INTRODUCTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      tags: Object.entries(routeGroups).map(([name, description]) => ({ name, description })),
      paths,
      components: {
        schemas: this.#schemas,
        securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      },
    };
  }

  #operation(route: Route): Json {
    const { about, path } = route;
    const description = [about.details, accessText(route)].filter((text) => text !== undefined);
    const parameters = [...readRoutePath(path).flatMap(pathParameter), ...this.#query(about.query ?? {})];
    const answers = Object.entries(about.answers).map(([status, answer]) => [status, this.#answer(answer)]);
    return {
      operationId: operationId(route),
      summary: about.summary,
      ...(description.length === 0 ? {} : { description: description.join('\n\n') }),
      tags: [about.group],
      security: securityOf(route),
      ...(parameters.length === 0 ? {} : { parameters }),
      ...(about.body === undefined
        ? {}
        : { requestBody: { required: true, content: this.#content(about.body, 'input') } }),
      responses: {
        ...Object.fromEntries(answers),
        default: this.#answer({ what: 'It was refused, or failed', json: errorBody }),
      },
    };
  }

  #query(query: NonNullable<Route['about']['query']>): Json[] {
    return Object.entries(query).map(([name, { schema, what, required }]) => ({
      name,
      in: 'query',
      description: what,
      required: required === true,
      schema: this.#schema(schema, 'input'),
    }));
  }

  #answer({ what, ...body }: AnswerDescription): Json {
    const hasBody = 'json' in body || 'type' in body;
    return {
      description: what,
      ...(hasBody ? { content: this.#content(body as BodyDescription, 'output') } : {}),
    };
  }

  /** Bytes: in 3.1 an empty schema under their media type. */
  #content(body: BodyDescription, io: 'input' | 'output'): Json {
    return 'json' in body
      ? { 'application/json': { schema: this.#schema(body.json, io) } }
      : { [body.type]: { schema: {} } };
  }

  /** Schemas that have an `id` become components, and are referred to. */
  #schema(schema: z.ZodType, io: 'input' | 'output'): Json {
    const {
      $schema: _,
      $defs,
      id,
      ...converted
    } = z.toJSONSchema(schema, {
      io,
      unrepresentable: 'any',
    }) as Json;
    for (const [name, definition] of Object.entries(($defs ?? {}) as Json))
      this.#keep(name, definition as Json);
    if (typeof id !== 'string') return withComponents(converted);
    this.#keep(id, converted);
    return { $ref: SCHEMAS + id };
  }

  #keep(name: string, { id: _, ...definition }: Json): void {
    this.#schemas[name] = withComponents(definition);
  }
}

function withComponents(schema: Json): Json {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', `"${SCHEMAS}`)) as Json;
}

function pathParameter(piece: string | PathParameter): Json[] {
  if (typeof piece === 'string') return [];
  const { name, what, example } = piece;
  return [{ name, in: 'path', required: true, description: what, schema: { type: 'string' }, example }];
}

function accessText({ access }: Route): string | undefined {
  switch (access) {
    case 'open':
      return undefined;
    case 'token':
      return 'Takes a token in force.';
    case 'server-admin':
      return 'Takes a token with the scope `admin` on all caches (`*`).';
    default: {
      const needed = `Takes a token with the scope ${access.map((scope) => `\`${scope}\``).join(' or ')}`;
      return `${needed}${access.includes('pull') ? '; of a public cache, none' : ''}.`;
    }
  }
}

function securityOf({ access }: Route): Json[] {
  if (access === 'open') return [];
  const needed = { token: [] };
  return typeof access !== 'string' && access.includes('pull') ? [{}, needed] : [needed];
}

/** `GET /:cache/nar/:file` is `getCacheNarFile`. */
function operationId({ method, path }: Route): string {
  const words = templateOf(path)
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '');
  const capitals = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return method.toLowerCase() + capitals.join('');
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
