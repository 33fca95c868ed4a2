import { larderExecutable } from '../larder/larder.js';
import { listArchives, unpackAll } from './floor.js';
import { measure, type ProcessCost } from './measure.js';
import type { Row } from './report.js';
import { prepareSetting, type Setting } from './setting.js';
import { type SlowLink, startSlowLink } from './slow-link.js';
import { emptyStore } from './transfer.js';

interface Trial {
  readonly name: string;
  readonly paths: number;
  readonly bytes: number;
  /** What ours may take of Nix's time. */
  readonly aim: number;
}

const trials: readonly Trial[] = [
  { name: '1,000 small paths', paths: 1000, bytes: 12_000_000, aim: 0.03 },
  { name: '300 paths of 400 MB', paths: 300, bytes: 400_000_000, aim: 0.18 },
];

const roundTrip = 25;
const fast = 200e6;
const slow = 50e6;

/** What ours may take of the time that the bytes alone take on the wire. */
const wireAim = 1.3;

/**
 * Fetching into an empty store over a slow link: `larder copy` against `nix copy` (once: it takes minutes), against the
 * time the archives' bytes take on the wire, and against what unpacking them costs this machine at the least.
 */
export async function benchSlowLink(runs: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const trial of trials) {
    await using setting = await prepareSetting(trial);
    const archives = await listArchives(setting);
    const floor = await unpackAll(setting, archives.files);
    for (const rate of [fast, slow]) {
      const ours = await best(runs, () => fetchOver(setting, rate, larderCopy));
      const label = `${trial.name}, 25 ms, ${rate / 1e6} Mbit/s`;
      // The other rate would tell nothing new of Nix, and take minutes more.
      if (rate === fast) {
        const theirs = await fetchOver(setting, rate, nixCopy);
        rows.push(
          row(`${label}, against Nix`, {
            ours,
            than: `nix copy ${seconds(theirs.seconds)}`,
            ratio: ours.seconds / theirs.seconds,
            aim: trial.aim,
          }),
        );
      }
      const wire = (archives.bytes * 8) / rate;
      rows.push(
        row(`${label}, against the wire`, {
          ours,
          than: `the wire's ${seconds(wire)}`,
          ratio: ours.seconds / wire,
          aim: wireAim,
        }),
      );
      if (rate === fast)
        rows.push(
          row(`${label}, against the floor`, {
            ours,
            than: `unpacking alone ${seconds(floor.seconds)}`,
            ratio: ours.seconds / floor.seconds,
            aim: Infinity,
          }),
        );
    }
  }
  return rows;
}

interface Figures {
  readonly ours: Fetched;
  readonly than: string;
  readonly ratio: number;
  readonly aim: number;
}

interface Fetched extends ProcessCost {
  /** Bytes that came over the link, and the connections they came over. */
  readonly received: number;
  readonly connections: number;
}

function row(label: string, { ours, than, ratio, aim }: Figures): Row {
  return {
    what: `Fetching ${label}`,
    larder: `${seconds(ours.seconds)}, ${(ours.received / 1e6).toFixed(1)} MB, ${ours.connections} connections`,
    reference: than,
    ratio,
    aim,
    memory: `larder ${ours.memory.toFixed(0)} MB`,
  };
}

type MakeCommand = (setting: Setting, cache: string, store: Store) => Parameters<typeof measure>[0];
type Store = Awaited<ReturnType<typeof emptyStore>>;

const larderCopy: MakeCommand = ({ larder, publicKey, top }, cache, store) => ({
  command: process.execPath,
  args: [
    ...[larderExecutable, 'copy', '--from', cache, '--to', `local?root=${store.root}`],
    ...['--trusted-public-keys', publicKey, top],
  ],
  env: larder.env,
});

const nixCopy: MakeCommand = ({ top }, cache, store) => store.command('nix', ['copy', '--from', cache, top]);

/** One fetch by a whole process into a store that has nothing. */
async function fetchOver(setting: Setting, rate: number, command: MakeCommand): Promise<Fetched> {
  await using store = await emptyStore(setting.publicKey);
  await using link: SlowLink = await startSlowLink(setting.server.port, { roundTrip, rate });
  const cost = await measure(command(setting, `${link.url}/main`, store));
  const fetched = { ...cost, received: link.received, connections: link.connections };
  // It takes minutes: what was measured is to be seen as it comes.
  console.log(`${rate / 1e6} Mbit/s: ${seconds(cost.seconds)}, ${(link.received / 1e6).toFixed(1)} MB`);
  return fetched;
}

async function best(runs: number, fetch: () => Promise<Fetched>): Promise<Fetched> {
  const all: Fetched[] = [];
  for (let run = 0; run < Math.min(runs, 3); run += 1) all.push(await fetch());
  return all.sort((a, b) => a.seconds - b.seconds)[Math.floor((all.length - 1) / 2)]!;
}

function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}
