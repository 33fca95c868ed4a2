import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { allRoutes } from './app.js';
import { describeRoutes, type OpenApiDocument } from './openapi.js';
import { examplePath, templateOf } from './path-parameters.js';
import type { Services } from './services.js';

/** The routes as the server has them; no handler is called. */
const routes = allRoutes({ config: { limits: {}, timeouts: {} } } as unknown as Services);

test('the document is valid OpenAPI 3.1 and has every route', async () => {
  const document = describeRoutes(routes);
  assert.equal(document.openapi, '3.1.0');
  const result = await new Validator().validate(JSON.parse(JSON.stringify(document)) as OpenApiDocument);
  assert.ok(result.valid, JSON.stringify(result.errors, undefined, 2));
  const described = Object.values(document.paths).reduce((sum, item) => sum + Object.keys(item).length, 0);
  assert.equal(described, routes.length, 'two routes must not have the same method and path');
});

test('every route says what it is for, and what it answers', () => {
  for (const { method, path, about } of routes) {
    const where = `${method} ${path}`;
    assert.match(about.summary, /^[A-Z].*[^.]$/, `${where}: a line without a full stop`);
    const statuses = Object.keys(about.answers);
    assert.ok(statuses.length > 0, `${where}: no answers`);
    for (const status of statuses) assert.match(status, /^[235]\d\d$/, where);
    if (method !== 'POST')
      assert.equal(about.body === undefined, !['PUT', 'PATCH'].includes(method), `${where}: its body`);
  }
});

test('paths become templates, and examples that their routes take', () => {
  assert.equal(templateOf('/:cache/:file{[a-z]{32}\\.narinfo}'), '/{cache}/{hash}.narinfo');
  assert.equal(templateOf('/:cache/nar/:file'), '/{cache}/nar/{file}');
  assert.equal(examplePath('/:cache/:file{[a-z]{32}\\.ls}', { cache: 'a', hash: 'h' }), '/a/h.ls');
  assert.throws(() => templateOf('/:cache/:unheard'), /:unheard of .* is not described/);
});
