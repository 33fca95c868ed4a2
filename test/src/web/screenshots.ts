import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { addUsageDays } from '@larder/cache-server/database/tables/usage-days';
import { openFoundation } from '@larder/cache-server/start';
import { pino } from 'pino';
import { TestServer } from '../server/running.js';
import { TestBrowser, type VisitOptions } from './browser.js';
import { deriverOf, stockUp } from './stock-up.js';

/** `node test/dist/web/screenshots.js FOLDER`: pictures of the pages, for looking at them and for the docs. */
const folder = process.argv[2] ?? 'screenshots';
await mkdir(folder, { recursive: true });
await using server = await TestServer.start({ toml: 'public_url = "https://cache.example.org"' });
const paths = await stockUp(server);
const pick = (name: string): string => {
  const path = paths.get(name);
  if (path === undefined) throw new Error(`there is no ${name}`);
  return path.hashPart;
};
await fillIn();

await using browser = await TestBrowser.start();
const system = `/main/path/${pick('nixos-system-kitchen-25.05')}`;
const pages: readonly (readonly [name: string, url: string, options?: VisitOptions])[] = [
  ['home', '/'],
  ['cache', '/main'],
  ['cache-dark', '/main', { colorScheme: 'dark' }],
  ['search', '/main/search?q=python'],
  ['path', `/main/path/${pick('python3-3.12.9')}`],
  ['closure', `${system}/closure`],
  ['closure-dark', `${system}/closure`, { colorScheme: 'dark' }],
  ['files', `${system}/files`],
  ['log', `/main/path/${pick('larder-0.1.0')}/log`],
  ['pins', '/main/pins'],
  ['usage', '/main/usage'],
  ['login', '/login'],
  ['missing', '/main/path/00000000000000000000000000000000'],
  ['phone', `/main/path/${pick('python3-3.12.9')}`, { width: 390, height: 800 }],
];
for (const [name, url, options] of pages) {
  await using visitor = await browser.visit(server.url, options);
  await visitor.page.goto(url);
  await visitor.page.screenshot({ path: join(folder, `${name}.png`) });
}

/** What a cache has after a month. */
async function fillIn(): Promise<void> {
  for (const [name, path] of [
    ['production', 'nixos-system-kitchen-25.05'],
    ['release', 'larder-0.1.0'],
  ] as const)
    await server.fetch(`/api/v1/caches/main/pins/${name}`, {
      method: 'PUT',
      body: JSON.stringify({ paths: [paths.get(path)?.storePath] }),
    });
  const larder = paths.get('larder-0.1.0');
  if (larder !== undefined)
    await server.put(
      `/api/v1/caches/main/logs/${deriverOf(larder)}`,
      'unpacking sources\n\u001b[1mbuilding\u001b[0m\ntsc -b deploy\ninstalling\nshrinking RPATHs\n',
    );
  await using foundation = await openFoundation(server.config, pino({ level: 'silent' }));
  const cache = await foundation.caches.find('main');
  const rows = Array.from({ length: 30 }, (_, at) => {
    const weekday = (at + 3) % 7 < 5 ? 1 : 0.25;
    const lookups = Math.round((5200 + 3900 * Math.sin(at / 3) + 130 * at) * weekday);
    return {
      cache_id: cache?.id ?? 0,
      day: new Date(Date.now() - at * 86_400_000).toISOString().slice(0, 10),
      lookups,
      hits: Math.round(lookups * (0.82 + 0.1 * Math.cos(at))),
      nars: Math.round(lookups * 0.4),
      bytes_sent: Math.round(lookups * 2.1e6),
      uploads: Math.round(lookups * 0.03),
      bytes_received: Math.round(lookups * 9e4),
    };
  });
  await addUsageDays(foundation.database.write, rows);
}
