import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';

/** What all benchmarks work on: a closure in a store, and a server that has it. */
export interface Setting extends AsyncDisposable {
  readonly nix: Nix;
  readonly larder: Larder;
  readonly server: LarderServer;
  /** Full store paths, references first. */
  readonly paths: readonly string[];
  /** The path that reaches all the others. */
  readonly top: string;
  readonly publicKey: string;
}

export interface SettingOptions {
  readonly paths: number;
  readonly bytes: number;
}

/** Nix's settings as they are out of the box, where the tests' own would make it faster or slower. */
export const plainSettings = { 'fsync-metadata': 'true' } as const;

/** Makes the closure, the store and the server. Takes half a minute for 400 MB. */
export async function prepareSetting({ paths: count, bytes }: SettingOptions): Promise<Setting> {
  const nix = await Nix.create({ settings: plainSettings });
  const larder = await Larder.create();
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'bench', paths: count, bytes });
  const paths = await importClosure(nix, objects);
  const top = paths.at(-1) ?? '';
  const server = await LarderServer.start(larder);
  await nix.login(await server.token());
  const store = ['--store', `local?root=${nix.root}`];
  await larder.run(['push', server.cache, top, ...store, '--token-file', server.tokenFile]);
  const [publicKey = ''] = await server.publicKeys();
  return {
    nix,
    larder,
    server,
    paths,
    top,
    publicKey,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await Promise.all([nix[Symbol.asyncDispose](), larder[Symbol.asyncDispose]()]);
    },
  };
}
