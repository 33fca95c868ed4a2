import { parseStorePath } from '@larder/signing/store-path';
import { ServerError } from '../errors.js';
import type { Pin } from '../pins/pins.js';
import { parseBody } from './admin-bodies.js';
import { readJson } from './json.js';
import { type PinDescription, type PinList, pinBody, pinDescription, pinList } from './pin-bodies.js';
import type { CacheRoute, RouteContext } from './route.js';
import type { Services } from './services.js';

/** Pins: names that keep paths. */
export function pinRoutes(services: Services): CacheRoute[] {
  const { pins } = services;
  return [
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/pins',
      access: ['pull', 'push'],
      about: {
        summary: 'List the pins, each with its newest revision',
        group: 'pins',
        answers: { 200: { what: 'The pins', json: pinList } },
      },
      async handle(context, { cache }) {
        const list = await pins.list(cache);
        return context.json({ pins: list.map(describePin) } satisfies PinList);
      },
    },
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/pins/:pin',
      access: ['pull', 'push'],
      about: {
        summary: 'Read a pin with its history',
        group: 'pins',
        answers: { 200: { what: 'The pin', json: pinDescription } },
      },
      async handle(context, { cache }) {
        const name = nameOf(context);
        const pin = await pins.find(cache, name);
        if (pin === undefined) throw noPin(name);
        return context.json(describePin(pin));
      },
    },
    {
      method: 'PUT',
      path: '/api/v1/caches/:cache/pins/:pin',
      access: ['push'],
      about: {
        summary: 'Pin paths: a new revision of this name',
        group: 'pins',
        body: { json: pinBody },
        answers: {
          200: { what: 'The pin, which had revisions before', json: pinDescription },
          201: { what: 'The new pin', json: pinDescription },
        },
      },
      async handle(context, { cache, token }) {
        const { paths, keepLast, keepFor } = parseBody(pinBody, await readJson(context, services));
        const { pin, isNew } = await pins.pin(cache, {
          name: nameOf(context),
          paths: paths.map(parseStorePath),
          keepLast,
          keepFor: typeof keepFor === 'number' ? keepFor * 1000 : keepFor,
          by: token?.name,
        });
        return context.json(describePin(pin), isNew ? 201 : 200);
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/caches/:cache/pins/:pin',
      access: ['delete'],
      about: {
        summary: 'Delete a pin with its history',
        group: 'pins',
        answers: { 204: { what: 'It is gone' } },
      },
      async handle(context, { cache }) {
        const name = nameOf(context);
        if (!(await pins.delete(cache, name))) throw noPin(name);
        return context.body(null, 204);
      },
    },
  ];
}

function nameOf(context: RouteContext): string {
  return context.req.param('pin') ?? '';
}

function noPin(name: string): ServerError {
  return new ServerError('not-found', `the cache has no pin '${name}'`);
}

function describePin({ name, createdAt, keepLast, keepFor, revisions }: Pin): PinDescription {
  return {
    name,
    createdAt: new Date(createdAt).toISOString(),
    ...(keepLast === undefined ? {} : { keepLast }),
    ...(keepFor === undefined ? {} : { keepFor: keepFor / 1000 }),
    revisions: revisions.map((each) => ({ ...each, createdAt: new Date(each.createdAt).toISOString() })),
  };
}
