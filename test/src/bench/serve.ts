import { storePathHashPart } from '@larder/signing/store-path';
import { startNginx } from '../engines/nginx.js';
import { fetchNarInfo } from '../faults/served-cache.js';
import { defaultStoreDir } from '../store-dir.js';
import { load } from './load.js';
import { median, peakMemory } from './measure.js';
import type { Row } from './report.js';
import type { Setting } from './setting.js';

export interface ServeOptions {
  /** Pairs of runs, the two servers in turn. */
  readonly runs: number;
  readonly seconds: number;
}

/** Serving narinfos and archives, against nginx on the very same files. */
export async function benchServing(setting: Setting, options: ServeOptions): Promise<readonly Row[]> {
  const { server, paths } = setting;
  await using nginx = await startNginx(`${server.data}/storage/main`);
  const hashParts = paths.map((path) => storePathHashPart(defaultStoreDir.parse(path)));
  const narinfos = hashParts.map((hashPart) => `/${hashPart}.narinfo`);
  const archives: string[] = [];
  for (const hashPart of hashParts) {
    const info = await fetchNarInfo(server.cache, hashPart);
    if (info !== undefined) archives.push(`/${info.url}`);
  }
  const rows: Row[] = [];
  for (const [what, files, connections] of [
    ['narinfos, one after the other', narinfos, 1],
    ['narinfos, 16 connections', narinfos, 16],
    ['NARs, 1 connection', archives, 1],
    ['NARs, 4 connections', archives, 4],
    ['NARs, 16 connections', archives, 16],
  ] as const) {
    const inBytes = files === archives;
    const figures: { ours: number; theirs: number }[] = [];
    for (let run = 0; run < options.runs; run += 1) {
      const [ours, theirs] = [
        await load(
          `${server.url}`,
          files.map((file) => `/main${file}`),
          { ...options, connections },
        ),
        await load(nginx.url, files, { ...options, connections }),
      ];
      const speed = inBytes ? 'megabytesPerSecond' : 'requestsPerSecond';
      figures.push({ ours: ours[speed], theirs: theirs[speed] });
    }
    const unit = inBytes ? 'MB/s' : '/s';
    rows.push({
      what: `Serving ${what}`,
      larder: `${median(figures.map(({ ours }) => ours)).toFixed(0)} ${unit}`,
      reference: `nginx ${median(figures.map(({ theirs }) => theirs)).toFixed(0)} ${unit}`,
      ratio: median(figures.map(({ ours, theirs }) => theirs / ours)),
      aim: 3,
      memory: `server ${(await peakMemory(server.pid)).toFixed(0)} MB`,
    });
  }
  return rows;
}
