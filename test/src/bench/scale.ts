import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { TestServer } from '../server/running.js';
import { CLOSURE, growCache, hashPartOf } from './made-up-cache.js';
import { median } from './measure.js';
import type { Row } from './report.js';

const SIZES = [10_000, 100_000, 1_000_000];
const YEAR = 365 * 86_400_000;
/** Of each question, so many times. */
const QUESTIONS = 200;

/** Milliseconds, by what was measured. */
type Figures = Readonly<Record<string, number>>;

/** What grows with the number of paths in a cache: each question at three sizes, on SQLite. */
export async function benchScaleOnSqlite(): Promise<readonly Row[]> {
  return rowsOf('SQLite', await measureEngine(''));
}

/** The same on PostgreSQL. */
export async function benchScaleOnPostgres(): Promise<readonly Row[]> {
  const skip = (reason: string): void => console.log(reason);
  if (!needsComponent({ skip }, 'postgresql')) return [];
  await using database = await openDatabase();
  const toml = `[database]\nengine = "postgresql"\nurl = "${database.url}"\n`;
  return rowsOf('PostgreSQL', await measureEngine(toml));
}

async function measureEngine(toml: string): Promise<readonly Figures[]> {
  await using server = await TestServer.start({
    toml: `${toml}\n[collection]\ngrace = "1 h"\ninterval = "0 s"\n[log]\nrequests = "none"\n`,
  });
  const { database, caches } = server.running.services;
  const cache = await caches.find('main');
  const figures: Figures[] = [];
  let from = 0;
  for (const to of SIZES) {
    const started = performance.now();
    await growCache(database, { cacheId: cache?.id ?? 0, from, to, old: Date.now() - YEAR });
    // As a database does by itself in time.
    await sql.raw('analyze').execute(database.write);
    console.log(
      `${database.dialect}: ${to} paths, after ${((performance.now() - started) / 1000).toFixed(0)} s`,
    );
    figures.push(await ask(server, to));
    console.log(JSON.stringify(figures.at(-1)));
    from = to;
  }
  return figures;
}

async function ask(server: TestServer, count: number): Promise<Figures> {
  const api = '/api/v1/caches/main';
  const random = (): number => Math.floor(Math.random() * count);
  const some = (length: number): number[] => Array.from({ length }, random);
  const words = ['firefox', 'requests 3.1', 'linux 5', 'gtk', 'dbi perl'];
  const timed = async (times: number, question: () => Promise<Response>): Promise<number> => {
    const taken: number[] = [];
    for (let at = 0; at < times; at++) {
      const started = performance.now();
      const answer = await question();
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
      taken.push(performance.now() - started);
    }
    return median(taken);
  };
  return {
    'a narinfo': await timed(QUESTIONS * 5, () => server.fetch(`/main/${hashPartOf(random())}.narinfo`)),
    [`a closure of ${CLOSURE} narinfos`]: await timed(QUESTIONS / 4, () => {
      const top = random();
      const last = top - (top % CLOSURE) + CLOSURE - 1;
      return server.post(`${api}/closure`, { hashParts: [hashPartOf(last)] });
    }),
    'which of 2000 paths are missing': await timed(QUESTIONS / 10, () =>
      server.post(`${api}/missing`, { paths: some(2000).map((at) => `${hashPartOf(at)}-x`) }),
    ),
    'a search': await timed(QUESTIONS / 4, () =>
      server.fetch(`/main/search?q=${encodeURIComponent(words[random() % words.length] ?? '')}`),
    ),
    'the page of the cache': await timed(QUESTIONS / 4, () => server.fetch('/main')),
    [MARK]: (await mark(server)) / (count / 1000),
  };
}

const MARK = 'planning a collection, for 1000 paths';

/** Milliseconds that the plan of a collection takes, half of whose closures are old. */
async function mark(server: TestServer): Promise<number> {
  const api = '/api/v1/caches/main';
  const body = JSON.stringify({ retention: { age: 30 * 86_400, size: 2 ** 50 } });
  await server.fetch(api, { method: 'PATCH', body });
  const started = performance.now();
  const answer = await server.post(`${api}/collections`, { dryRun: true });
  const { id } = (await answer.json()) as { id: number };
  for (;;) {
    const page = await server.fetch(`${api}/collections/${id}?limit=0`);
    const { state, plannedPaths } = (await page.json()) as { state: string; plannedPaths: number };
    if (state === 'done') {
      if (plannedPaths === 0) throw new Error('the plan is empty');
      return performance.now() - started;
    }
    await delay(20);
  }
}

/** A hundred times the paths: what is looked up takes ten times as long at most, and a plan no longer for each path. */
function rowsOf(engine: string, figures: readonly Figures[]): Row[] {
  const [small, middle, large] = figures;
  return Object.keys(small ?? {}).map((what) => {
    const [one = 0, two = 0, three = 0] = [small?.[what], middle?.[what], large?.[what]];
    return {
      what: `1,000,000 paths on ${engine}: ${what}`,
      larder: `${three.toFixed(2)} ms`,
      reference: `10,000 paths ${one.toFixed(2)} ms, 100,000 ${two.toFixed(2)} ms`,
      ratio: three / one,
      aim: what === MARK ? 1.5 : 10,
      memory: '',
    };
  });
}
