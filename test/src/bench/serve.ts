import { writeFile } from 'node:fs/promises';
import { storePathHashPart } from '@larder/signing/store-path';
import { type Nginx, startAcceleratingProxy, startNginx } from '../engines/nginx.js';
import { fetchNarInfo } from '../faults/served-cache.js';
import { LarderServer } from '../larder/server.js';
import { defaultStoreDir } from '../store-dir.js';
import { load } from './load.js';
import { median, peakMemoryOfAll } from './measure.js';
import type { Row } from './report.js';
import type { Setting } from './setting.js';

export interface ServeOptions {
  /** Pairs of runs, the two servers in turn. */
  readonly runs: number;
  readonly seconds: number;
}

/** Serving narinfos and archives, with one process and with two, against nginx on the very same files. */
export async function benchServing(setting: Setting, options: ServeOptions): Promise<readonly Row[]> {
  const { server, larder } = setting;
  await using nginx = await startNginx(`${server.data}/storage/main`);
  const files = await filesOf(setting);
  const { url } = server;
  const rows = await measureServer({ server, url, nginx, files, how: 'one process' }, options);
  // Over the same index and files: the others have nothing to do meanwhile.
  await using both = await LarderServer.start(larder, { data: server.data, args: ['--processes', '2'] });
  rows.push(
    ...(await measureServer({ server: both, url: both.url, nginx, files, how: 'two processes' }, options)),
  );
  const config = larder.scratch.join('accel.toml');
  await writeFile(config, '[reads]\nredirect = "accel"\n');
  await using behind = await LarderServer.start(larder, { data: server.data, args: ['--config', config] });
  await using proxy = await startAcceleratingProxy(behind.port, `${server.data}/storage`);
  const how = 'behind nginx, which sends the files';
  const accelerated = await measureServer({ server: behind, url: proxy.url, nginx, files, how }, options);
  return [...rows, ...accelerated.filter(({ what }) => what.includes('NARs'))];
}

interface Files {
  readonly narinfos: readonly string[];
  readonly archives: readonly string[];
}

async function filesOf({ server, paths }: Setting): Promise<Files> {
  const hashParts = paths.map((path) => storePathHashPart(defaultStoreDir.parse(path)));
  const archives: string[] = [];
  for (const hashPart of hashParts) {
    const info = await fetchNarInfo(server.cache, hashPart);
    if (info !== undefined) archives.push(`/${info.url}`);
  }
  return { narinfos: hashParts.map((hashPart) => `/${hashPart}.narinfo`), archives };
}

interface Contest {
  readonly server: LarderServer;
  /** Where it is asked. */
  readonly url: string;
  readonly nginx: Nginx;
  readonly files: Files;
  readonly how: string;
}

async function measureServer(contest: Contest, options: ServeOptions): Promise<Row[]> {
  const { server, files, how } = contest;
  const rows: Row[] = [];
  for (const [what, kind, connections, aim] of [
    ['narinfos, one after the other', 'narinfos', 1, 2],
    ['narinfos, 16 connections', 'narinfos', 16, 2],
    ['NARs, 1 connection', 'archives', 1, 1.5],
    ['NARs, 4 connections', 'archives', 4, 1.5],
    ['NARs, 16 connections', 'archives', 16, 1.5],
  ] as const) {
    const inBytes = kind === 'archives';
    const figures = await compare(contest, files[kind], { ...options, connections, inBytes });
    const unit = inBytes ? 'MB/s' : '/s';
    rows.push({
      what: `Serving ${what}, ${how}`,
      larder: `${median(figures.map(({ ours }) => ours)).toFixed(0)} ${unit}`,
      reference: `nginx ${median(figures.map(({ theirs }) => theirs)).toFixed(0)} ${unit}`,
      ratio: median(figures.map(({ ours, theirs }) => theirs / ours)),
      aim,
      memory: `server ${(await peakMemoryOfAll(server.pid)).toFixed(0)} MB`,
    });
  }
  return rows;
}

/** Pairs of runs, the two servers in turn. */
async function compare(
  { url, nginx }: Contest,
  files: readonly string[],
  options: ServeOptions & { readonly connections: number; readonly inBytes: boolean },
): Promise<readonly { readonly ours: number; readonly theirs: number }[]> {
  const speed = options.inBytes ? 'megabytesPerSecond' : 'requestsPerSecond';
  const own = files.map((file) => `/main${file}`);
  const figures = [];
  for (let run = 0; run < options.runs; run += 1) {
    const ours = await load(url, own, options);
    const theirs = await load(nginx.url, files, options);
    figures.push({ ours: ours[speed], theirs: theirs[speed] });
  }
  return figures;
}
