import { readFile } from 'node:fs/promises';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { componentCommand } from '../engines/components.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { Larder, larderExecutable } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { type Releases, unpackReleases } from './debian-releases.js';
import { cpuSeconds, measure, type ProcessCost, peakMemory, resetPeakMemory } from './measure.js';
import type { Row } from './report.js';
import { startSlowLink } from './slow-link.js';

/** What updating may take of the time of fetching all: no matter how few the bytes, the new contents are written and hashed. */
const timeAim = 0.2;

/** What the first may take of it: deltas that are yet to be made are waited for only where that is no slower. */
const firstAim = 1.1;

/** What the deltas that are being made may take together unless the server is told otherwise, in MB. */
const memoryBudget = (512 * 2 ** 20) / 1e6;

const link = { roundTrip: 25, rate: 50e6 };

/**
 * Updating over a slow link a store that has the older version: bytes both ways and time, against fetching the same into
 * an empty store; and what the deltas cost the server.
 */
export async function benchDeltas(): Promise<readonly Row[]> {
  return [
    ...(await benchReleases()),
    ...(await benchRebuild('300 paths, 100 MB', { paths: 300, bytes: 100_000_000 })),
    ...(await benchRebuild('1,000 paths, 12 MB', { paths: 1000, bytes: 12_000_000 })),
  ];
}

/** Old and new releases of real packages. */
async function benchReleases(): Promise<Row[]> {
  await using larder = await Larder.create();
  const releases = await unpackReleases(larder.scratch.join('releases'));
  const store = `local?root=${larder.scratch.join('origin')}`;
  const addAll = async (trees: readonly string[]) =>
    (await larder.run(['store', 'add', '--store', store, ...trees])).split('\n');
  const old = await addAll(releases.map((each) => each.old.tree));
  const fresh = await addAll(releases.map((each) => each.fresh.tree));
  await using server = await LarderServer.start(larder);
  const update = await measureUpdate({ larder, server, store, old, fresh });
  const label = `${releases.length} Debian packages`;
  return [...updateRows(label, update, 0.2), await makingRow(releases, update), memoryRow(update)];
}

/** The same closure with other store hashes in it, as after a change to what all of it needs. */
async function benchRebuild(
  label: string,
  size: { readonly paths: number; readonly bytes: number },
): Promise<Row[]> {
  await using nix = await Nix.create();
  await using larder = await Larder.create();
  const make = async (rebuild: string) => {
    const directory = nix.scratch.join(`trees${rebuild}`);
    return importClosure(nix, await makeClosure(directory, { seed: 'bench', rebuild, ...size }));
  };
  const [old, fresh] = [await make(''), await make('again')];
  await using server = await LarderServer.start(larder);
  const store = `local?root=${nix.root}`;
  const update = await measureUpdate({ larder, server, store, old: old.slice(-1), fresh: fresh.slice(-1) });
  return updateRows(`a mass rebuild of ${label}`, update, 0.01);
}

interface UpdateSetting {
  readonly larder: Larder;
  readonly server: LarderServer;
  /** Where both releases are. */
  readonly store: string;
  /** Store paths, whose closures are what is updated. */
  readonly old: readonly string[];
  readonly fresh: readonly string[];
}

interface Fetch extends ProcessCost {
  /** Bytes over the link, both ways. */
  readonly bytes: number;
  readonly deltas: number;
}

interface Update {
  readonly full: Fetch;
  /** By the first client, whom the deltas are made for, and by the next. */
  readonly first: Fetch;
  readonly next: Fetch;
  /** Seconds of the server's CPU that making the deltas took, its peak memory meanwhile, and what it had before, in MB. */
  readonly making: number;
  readonly memory: number;
  readonly memoryBefore: number;
}

async function measureUpdate({ larder, server, store, old, fresh }: UpdateSetting): Promise<Update> {
  await larder.run([
    'push',
    server.cache,
    '--store',
    store,
    '--token-file',
    server.tokenFile,
    ...old,
    ...fresh,
  ]);
  const [publicKey = ''] = await server.publicKeys();
  const keys = ['--trusted-public-keys', publicKey];
  const fetch = async (scratch: Scratch) => {
    await using slow = await startSlowLink(server.port, link);
    const args = [
      'copy',
      '--stats',
      '--json',
      '--from',
      `${slow.url}/main`,
      '--to',
      `local?root=${scratch.join('store')}`,
    ];
    const file = scratch.join('events');
    const command = `exec "${process.execPath}" "${larderExecutable}" "$@" > "${file}"`;
    const cost = await measure({
      command: '/bin/sh',
      args: ['-c', command, 'sh', ...args, ...keys, ...fresh],
      env: larder.env,
    });
    return { ...cost, bytes: slow.received + slow.sent, deltas: await countDeltas(file) };
  };
  const update = async () => {
    await using scratch = await makeScratch('update');
    await larder.run([
      'copy',
      '--from',
      server.cache,
      '--to',
      `local?root=${scratch.join('store')}`,
      ...keys,
      ...old,
    ]);
    return await fetch(scratch);
  };
  await using empty = await makeScratch('update');
  const before = await cpuSeconds(server.pid);
  const full = await fetch(empty);
  const between = await cpuSeconds(server.pid);
  const memoryBefore = await resetPeakMemory(server.pid);
  const first = await update();
  const after = await cpuSeconds(server.pid);
  return {
    full,
    first,
    next: await update(),
    making: Math.max(0, after - between - (between - before)),
    memory: await peakMemory(server.pid),
    memoryBefore,
  };
}

function updateRows(label: string, { full, first, next, memory }: Update, aim: number): Row[] {
  const both = `larder ${next.memory.toFixed(0)} MB, server ${memory.toFixed(0)} MB`;
  const row = (
    what: string,
    fetch: Fetch,
    figures: Pick<Row, 'larder' | 'reference' | 'ratio'> & { readonly aim?: number },
  ): Row => ({
    what: `Updating ${label}: ${what}`,
    aim,
    ...figures,
    larder: `${figures.larder}, ${fetch.deltas} deltas`,
    memory: both,
  });
  const seconds = (fetch: Fetch) => `${fetch.seconds.toFixed(2)} s`;
  const megabytes = (fetch: Fetch) => `${(fetch.bytes / 1e6).toFixed(2)} MB`;
  return [
    row('bytes both ways', next, {
      larder: megabytes(next),
      reference: `all of it ${megabytes(full)}`,
      ratio: next.bytes / full.bytes,
    }),
    row('time at 50 Mbit/s', next, {
      aim: Math.max(aim, timeAim),
      larder: seconds(next),
      reference: `all of it ${seconds(full)}`,
      ratio: next.seconds / full.seconds,
    }),
    row('time of the first, whom the deltas are made for', first, {
      aim: firstAim,
      larder: seconds(first),
      reference: `all of it ${seconds(full)}`,
      ratio: first.seconds / full.seconds,
    }),
  ];
}

/** Against `zstd --patch-from`, on the same trees as tar would have them: concatenated. */
async function makingRow(releases: readonly Releases[], { making, first, memory }: Update): Promise<Row> {
  await using scratch = await makeScratch('patches');
  const zstd = componentCommand('compressors', 'zstd');
  let cpu = 0;
  for (const { name, old, fresh } of releases) {
    const pack = `tar -C "$1" --sort=name --mtime=@1 -cf "$3" . && tar -C "$2" --sort=name --mtime=@1 -cf "$4" .`;
    const [before, after] = [scratch.join(`${name}.old`), scratch.join(`${name}.new`)];
    const env = { PATH: '/usr/bin:/bin' };
    await measure({ command: '/bin/sh', args: ['-c', pack, 'sh', old.tree, fresh.tree, before, after], env });
    const options = ['-q', '-6', '--long=27', `--patch-from=${before}`, after, '-o', `${after}.zst`];
    cpu += (await measure({ command: zstd, args: options, env })).cpu;
  }
  const each = (seconds: number): string => `${(seconds / releases.length).toFixed(2)} s`;
  return {
    what: 'Making a delta: CPU of the server',
    larder: `${each(making)}, mean of ${first.deltas}`,
    reference: `zstd -6 --patch-from ${each(cpu)}`,
    ratio: making / cpu,
    aim: 3,
    memory: `server ${memory.toFixed(0)} MB`,
  };
}

function memoryRow({ memory, memoryBefore }: Update): Row {
  const more = memory - memoryBefore;
  return {
    what: 'Making deltas: memory of the server beyond what it had',
    larder: `${more.toFixed(0)} MB`,
    reference: `its budget ${memoryBudget.toFixed(0)} MB`,
    ratio: more / memoryBudget,
    aim: 1,
    memory: `server ${memory.toFixed(0)} MB`,
  };
}

/** Of the events of `larder copy --stats --json`. */
async function countDeltas(file: string): Promise<number> {
  const events = (await readFile(file, 'utf8')).trim().split('\n');
  const { type, deltas } = JSON.parse(events.at(-1) ?? '{}') as { type?: string; deltas?: number };
  return type === 'stats' ? (deltas ?? 0) : 0;
}
