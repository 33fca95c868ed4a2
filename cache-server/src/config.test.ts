import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hasCode } from '@larder/signing/errors';
import { parse as parseToml } from 'smol-toml';
import { loadConfig } from './config.js';
import { configSchema } from './config-schema.js';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'larder-config-'));
});
after(() => rm(directory, { recursive: true }));

async function load(text: string, environment: Record<string, string> = {}) {
  const file = join(directory, 'larder.toml');
  await writeFile(file, text);
  return loadConfig({ file, environment });
}

test('nothing said gives a server of its own on disk and SQLite', async () => {
  const config = await loadConfig({ environment: {} });
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 8080 });
  assert.equal(config.storage.engine, 'disk');
  assert.equal(config.database.engine, 'sqlite');
  assert.equal(config.limits.narinfo, 1024 * 1024);
});

test('the command line wins over the environment, and that over the file', async () => {
  const file = join(directory, 'larder.toml');
  await writeFile(file, 'listen = "a:1"\ndata = "/file"\n[log]\nlevel = "debug"');
  const environment = { LARDER_LISTEN: 'b:2', LARDER_DATA: '/variable', LARDER_LOG_LEVEL: '' };
  const config = await loadConfig({ file, environment, overrides: { listen: '[::1]:3' } });
  assert.deepEqual(config.listen, { host: '::1', port: 3 });
  assert.equal(config.data, '/variable');
  assert.equal(config.log.level, 'debug');
});

test('a fault names its file and key', async () => {
  const cases: [string, RegExp][] = [
    ['listen = "8080"', /larder\.toml: listen: must be "host:port"/],
    ['lisen = "a:1"', /larder\.toml: lisen: is not a key/],
    ['[limits]\nnar = "4 gigs"', /larder\.toml: limits\.nar: must be a number with a unit/],
    ['[limits]\nnarr = "4 GiB"', /larder\.toml: limits\.narr: is not a key/],
    ['[storage]\nengine = "tape"', /larder\.toml: storage\.engine/],
    ['[storage]\nengine = "s3"', /larder\.toml: storage\.bucket/],
    ['[storage]\nengine = "s3"\nbucket = "b"\npart_size = "1 MiB"', /storage\.part_size: must be at least/],
    [
      '[storage]\nengine = "s3"\nbucket = "b"\naccess_key_id = "b"',
      /storage\.secret_access_key: is missing; give both/,
    ],
    ['[timeouts]\nidle = 5', /larder\.toml: timeouts\.idle: must be a number with a unit/],
    ['a = = 1', /larder\.toml:1:5: /],
  ];
  for (const [text, message] of cases)
    await assert.rejects(
      load(text),
      (error) => hasCode(error, 'config-malformed') && message.test(error.message),
    );
});

test('a fault of the environment names the variable, and secrets need no file', async () => {
  await assert.rejects(
    load('', { LARDER_LISTEN: 'x' }),
    /environment variable LARDER_LISTEN: listen: must be/,
  );
  const config = await load('[database]\nengine = "postgresql"', { LARDER_DATABASE_URL: 'postgres://h/d' });
  assert.equal(config.database.engine === 'postgresql' && config.database.url, 'postgres://h/d');
});

/** `a.b` for every key of the schema, unions flattened. */
function keysOf(schema: unknown, prefix = ''): string[] {
  const { def } = schema as { def: Record<string, unknown> & { type: string } };
  if (def.type === 'object')
    return Object.entries(def.shape as Record<string, unknown>).flatMap(([key, inner]) =>
      keysOf(inner, prefix === '' ? key : `${prefix}.${key}`),
    );
  if (def.type === 'union') return (def.options as unknown[]).flatMap((option) => keysOf(option, prefix));
  const inner = def.innerType ?? (def.type === 'pipe' ? def.in : undefined);
  return inner === undefined ? [prefix] : keysOf(inner, prefix);
}

test('the README and the sample document every key, and the sample loads', async () => {
  const keys = [...new Set(keysOf(configSchema))];
  assert.ok(keys.includes('storage.part_size') && keys.includes('limits.nar'), keys.join());
  const room = new URL('../', import.meta.url);
  const readme = await readFile(new URL('README.md', room), 'utf8');
  const sample = await readFile(new URL('larder.example.toml', room), 'utf8');
  for (const key of keys) {
    assert.ok(readme.includes(`\`${key}\``), `README.md says nothing of ${key}`);
    const last = key.split('.').at(-1) ?? '';
    assert.match(
      sample,
      new RegExp(`^#? ?(?:${last} = |\\[\\[.*${last}\\]\\])`, 'm'),
      `larder.example.toml says nothing of ${key}`,
    );
  }
  for (const variant of variants(sample.replace(/^# ((?:[a-z_0-9]+ = |\[).*)$/gm, '$1')))
    assert.ok(configSchema.safeParse(parseToml(variant)).success, variant);
});

/** The sample has a table for each engine of the storage and the database; each choice must load. */
function variants(text: string): string[] {
  const blocks = text.split(/\n(?=\[)/);
  const seen = new Set<string>();
  const first: string[] = [];
  const second: string[] = [];
  for (const block of blocks) {
    const table = /^\[[^\]]+\]/.exec(block)?.[0] ?? '';
    (seen.has(table) ? second : first).push(block);
    seen.add(table);
  }
  return [first.join('\n'), second.join('\n')];
}
