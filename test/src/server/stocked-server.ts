import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { generateToken } from '@larder/cache-server/auth/token';
import { loadConfig } from '@larder/cache-server/config';
import { type Foundation, openFoundation } from '@larder/cache-server/start';
import { pino } from 'pino';
import type { Scratch } from '../engines/scratch.js';
import type { TestServer } from './running.js';
import { bare, commitOf, samplePath } from './sample-path.js';

export const base = samplePath('base');
export const top = samplePath('top', [base], 'x'.repeat(100_000));
export const alone = samplePath('alone');
export const hidden = samplePath('hidden');

/** A server with two caches, a pin, a token and a log. Gives the token. */
export async function stockUp(server: TestServer): Promise<string> {
  await server.addCache({ name: 'secret', public: false });
  for (const [cache, paths] of [
    ['main', [base, top, alone]],
    ['secret', [hidden]],
  ] as const) {
    for (const { nar, narHash } of paths)
      assert.ok((await server.put(`/api/v1/caches/${cache}/nars/${bare(narHash)}`, nar)).ok);
    assert.ok((await server.post(`/api/v1/caches/${cache}/commit`, { paths: paths.map(commitOf) })).ok);
  }
  const pin = JSON.stringify({ paths: [top.storePath] });
  assert.ok((await server.put('/api/v1/caches/main/pins/release', pin)).ok);
  assert.ok((await server.put(`/main/log/${top.storePath}.drv`, 'built\n')).ok);
  const token = generateToken();
  await server.addToken(token, { name: 'reader', caches: ['secret'], scopes: ['pull'] });
  return token;
}

export const orphans = '[uploads]\norphans = "1 ms"\n';

export async function openAt(scratch: Scratch, toml: string): Promise<Foundation> {
  const file = scratch.join('larder.toml');
  await writeFile(file, toml);
  const overrides = { data: scratch.join('data') };
  const config = await loadConfig({ file, environment: {}, overrides });
  return openFoundation(config, pino({ level: 'silent' }));
}
