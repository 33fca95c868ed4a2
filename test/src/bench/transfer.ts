import { componentCommand } from '../engines/components.js';
import { larderExecutable } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { listArchives, unpackAll } from './floor.js';
import { measure, median, type ProcessCost, peakMemory } from './measure.js';
import type { Row } from './report.js';
import { plainSettings, type Setting } from './setting.js';

interface Pair {
  readonly ours: ProcessCost;
  readonly theirs: ProcessCost;
  /** Peak memory of the server, in MB. */
  readonly server?: number;
}

/** Fetching the closure into an empty store: `larder copy` against `nix copy`, from the same cache. */
export async function benchCopy(setting: Setting, runs: number): Promise<readonly Row[]> {
  const { larder, server, publicKey, top } = setting;
  const pairs: Pair[] = [];
  for (let run = 0; run < runs; run += 1) {
    await using forLarder = await emptyStore(publicKey);
    await using forNix = await emptyStore(publicKey);
    const to = ['--to', `local?root=${forLarder.root}`, '--trusted-public-keys', publicKey];
    const ours = await measure({
      command: process.execPath,
      args: [larderExecutable, 'copy', '--from', server.cache, ...to, top],
      env: larder.env,
    });
    const theirs = await measure(forNix.command('nix', ['copy', '--from', server.cache, top]));
    pairs.push({ ours, theirs });
  }
  const { files } = await listArchives(setting);
  const floor = await unpackAll(setting, files);
  const seconds = median(pairs.map(({ ours }) => ours.seconds));
  const copy = { ...compare('Fetching: larder copy', 'nix copy', pairs), aim: 0.6 };
  return [
    copy,
    {
      ...copy,
      what: 'Fetching: larder copy, against the floor',
      reference: `zstd, sha256sum and writing alone ${floor.seconds.toFixed(2)} s`,
      ratio: seconds / floor.seconds,
      aim: Number.POSITIVE_INFINITY,
    },
  ];
}

/** Publishing the closure to an empty server: `larder push` against `nix copy --to http`. */
export async function benchPush(setting: Setting, runs: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const [label, ourQuery, theirQuery] of [
    ['as each does by default here', '', '?compression=zstd'],
    ['both zstd', '?compression=zstd', '?compression=zstd'],
    ['both uncompressed', '?compression=none', '?compression=none'],
  ] as const) {
    const pairs: Pair[] = [];
    for (let run = 0; run < runs; run += 1) {
      const ours = await pushOnce(setting, `${run}-ours`, (server) => ({
        command: process.execPath,
        args: [
          ...[larderExecutable, 'push', `${server.cache}${ourQuery}`, setting.top],
          ...['--store', `local?root=${setting.nix.root}`, '--token-file', server.tokenFile],
        ],
        env: setting.larder.env,
      }));
      const theirs = await pushOnce(setting, `${run}-theirs`, (server) =>
        setting.nix.command('nix', ['copy', '--to', `${server.cache}${theirQuery}`, setting.top]),
      );
      pairs.push({ ours: ours.client, theirs: theirs.client, server: ours.server });
    }
    rows.push(compare(`Publishing: larder push, ${label}`, 'nix copy --to', pairs));
  }
  return rows;
}

interface PushCost {
  readonly client: ProcessCost;
  readonly server: number;
}

/** One push to a server that has nothing yet. */
async function pushOnce(
  { larder, nix }: Setting,
  name: string,
  command: (server: LarderServer) => Parameters<typeof measure>[0],
): Promise<PushCost> {
  const data = larder.scratch.join(`push-${name}`);
  await using server = await LarderServer.start(larder, { data });
  await nix.login(await server.token());
  const client = await measure(command(server));
  return { client, server: await peakMemory(server.pid) };
}

/** A store of stock Nix without anything, that trusts this key. */
export function emptyStore(publicKey: string): Promise<Nix> {
  return Nix.create({ settings: { ...plainSettings, 'trusted-public-keys': publicKey } });
}

function compare(what: string, reference: string, pairs: readonly Pair[]): Row {
  const seconds = (of: (pair: Pair) => ProcessCost) => median(pairs.map((pair) => of(pair).seconds));
  const memory = (of: (pair: Pair) => ProcessCost) => Math.max(...pairs.map((pair) => of(pair).memory));
  const server = Math.max(0, ...pairs.map((pair) => pair.server ?? 0));
  return {
    what,
    larder: `${seconds(({ ours }) => ours).toFixed(2)} s`,
    reference: `${reference} ${seconds(({ theirs }) => theirs).toFixed(2)} s`,
    ratio: median(pairs.map(({ ours, theirs }) => ours.seconds / theirs.seconds)),
    aim: 1,
    memory:
      `larder ${memory(({ ours }) => ours).toFixed(0)} MB, nix ${memory(({ theirs }) => theirs).toFixed(0)} MB` +
      (server > 0 ? `, server ${server.toFixed(0)} MB` : ''),
  };
}

/** What the benchmarks run of Nix must be there before anything is made. */
export function checkPrograms(): void {
  componentCommand('nix', 'nix');
  componentCommand('load', 'time');
  componentCommand('load', 'wrk');
  componentCommand('nginx', 'nginx');
}
