import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { Larder } from '../larder/larder.js';
import { RunningProxy } from '../larder/proxy.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { measure, type ProcessCost } from './measure.js';
import type { Row } from './report.js';
import { startSlowLink } from './slow-link.js';
import { emptyStore } from './transfer.js';

const link = { roundTrip: 25, rate: 50e6 };
const size = { paths: 300, bytes: 30_000_000 };

interface Fetched extends ProcessCost {
  /** Bytes over the link, both ways. */
  readonly bytes: number;
}

/** Stock Nix that updates its store over a slow link: by itself, and through `larder proxy` on its side of the link. */
export async function benchProxied(): Promise<readonly Row[]> {
  await using nix = await Nix.create();
  await using larder = await Larder.create();
  const make = async (rebuild: string): Promise<string> => {
    const trees = await makeClosure(nix.scratch.join(`trees${rebuild}`), { seed: 'bench', rebuild, ...size });
    return (await importClosure(nix, trees)).at(-1) ?? '';
  };
  const [old, fresh] = [await make(''), await make('again')];
  await using server = await LarderServer.start(larder);
  const store = ['--store', `local?root=${nix.root}`, '--token-file', server.tokenFile];
  await larder.run(['push', server.cache, ...store, old, fresh]);
  const [key = ''] = await server.publicKeys();
  const update = async (behindProxy: boolean): Promise<Fetched> => {
    await using client = await emptyStore(key);
    await client.run('nix', ['copy', '--from', server.cache, old]);
    await using slow = await startSlowLink(server.port, link);
    const copy = (cache: string) => measure(client.command('nix', ['copy', '--from', cache, fresh]));
    const cost = behindProxy ? await throughProxy(client, slow.url, copy) : await copy(`${slow.url}/main`);
    return { ...cost, bytes: slow.received + slow.sent };
  };
  const throughProxy = async (client: Nix, url: string, copy: (cache: string) => Promise<ProcessCost>) => {
    const args = [
      '--from',
      `${url}/main`,
      '--trusted-public-keys',
      key,
      '--store',
      `local?root=${client.root}`,
    ];
    await using proxy = await RunningProxy.start(larder, args);
    return await copy(proxy.url);
  };
  return rows(await update(true), await update(false));
}

function rows(proxied: Fetched, direct: Fetched): Row[] {
  const what = `Stock Nix updating ${size.paths} paths, ${size.bytes / 1e6} MB, after a mass rebuild`;
  const memory = `nix ${proxied.memory.toFixed(0)} MB`;
  const megabytes = ({ bytes }: Fetched): string => `${(bytes / 1e6).toFixed(2)} MB`;
  const seconds = (each: Fetched): string => `${each.seconds.toFixed(2)} s`;
  return [
    {
      what: `${what}: bytes both ways`,
      larder: `larder proxy ${megabytes(proxied)}`,
      reference: `by itself ${megabytes(direct)}`,
      ratio: proxied.bytes / direct.bytes,
      aim: 0.1,
      memory,
    },
    {
      what: `${what}: time at 25 ms, 50 Mbit/s`,
      larder: `larder proxy ${seconds(proxied)}`,
      reference: `by itself ${seconds(direct)}`,
      ratio: proxied.seconds / direct.seconds,
      aim: 0.5,
      memory,
    },
  ];
}
