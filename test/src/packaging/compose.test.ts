import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { loadConfig } from '@larder/cache-server/config';
import { parse } from 'yaml';
import { componentCommand, needsComponent } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch } from '../engines/scratch.js';
import { tryProgram } from '../oracle/program.js';
import { npmCommand, packaged } from './packaging.js';

interface Service {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const composeFile = packaged('compose/compose.yaml');

test('the compose file is one, by its schema and a linter', async () => {
  const { status, stdout, stderr } = await tryProgram(process.execPath, [
    await npmCommand('dclint', 'dclint'),
    '--config',
    packaged('compose/.dclintrc.yaml'),
    '--max-warnings',
    '0',
    composeFile,
  ]);
  assert.equal(status, 0, `${stdout.toString()}${stderr}`);
});

test('every variable of the compose file is in example.env', async () => {
  const used = (await readFile(composeFile, 'utf8')).matchAll(/\$\{(\w+)(:-)?|environment: ([A-Z_]+)$/gm);
  const example = await readFile(packaged('compose/example.env'), 'utf8');
  for (const [, name, hasDefault, secret] of used)
    if (hasDefault === undefined) assert.match(example, new RegExp(`^${name ?? secret}=`, 'm'));
});

test("the servers' configuration loads with the environment they get", async () => {
  const { services } = parse(await readFile(composeFile, 'utf8'), { merge: true }) as {
    services: Record<string, Service>;
  };
  const { environment = {} } = services['server-1'] ?? {};
  const config = await loadConfig({
    file: packaged('compose/larder.toml'),
    environment: { ...environment, LARDER_PUBLIC_URL: 'https://cache.example.org' },
  });
  assert.equal(config.storage.engine === 's3' && config.storage.access_key_id, 'larder');
  assert.match(config.database.engine === 'postgresql' ? config.database.url : '', /@database\/larder$/);
  assert.deepEqual(services['server-1'], services['server-2']);
  assert.deepEqual(services.prepare?.environment, environment);
});

test('the proxy takes its configuration', async (t) => {
  if (!needsComponent(t, 'proxy')) return;
  await using scratch = await makeScratch('caddy');
  const { status, stderr } = await tryProgram(
    componentCommand('proxy', 'caddy'),
    ['validate', '--adapter', 'caddyfile', '--config', packaged('compose/Caddyfile')],
    { env: { ...neutralEnvironment(scratch.path), LARDER_HOST: 'cache.example.org' } },
  );
  assert.equal(status, 0, stderr);
});
