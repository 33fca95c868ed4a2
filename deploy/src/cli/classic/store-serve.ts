import type { Target } from '@larder/builder/realise/targets';
import { formatContentAddress, parseContentAddress } from '@larder/signing/content-address';
import { hasCode, LarderError } from '@larder/signing/errors';
import { parseHash } from '@larder/signing/hash';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { WireReader, WireWriter } from '@larder/substituter/daemon/wire';
import { addNar } from '@larder/substituter/local-store/add-path';
import { notSupported, print } from './messages.js';
import type { OperationRequest } from './nix-store.js';
import { realiseTargets } from './realise.js';
import type { ToolSession, ToolStore } from './session.js';
import { followToTarget, queryValid } from './store-arguments.js';
import { expectNoArguments, readFlags } from './store-flags.js';

const CLIENT_MAGIC = 0x390c9deb;
const SERVER_MAGIC = 0x5452eecb;
/** 2.7, that of Nix 2.4 to 2.24. */
const VERSION = (2 << 8) | 7;

const COMMAND = {
  queryValidPaths: 1,
  queryPathInfos: 2,
  dumpStorePath: 3,
  buildPaths: 6,
  queryClosure: 7,
  addToStoreNar: 9,
} as const;

/**
 * `nix-store --serve`: the store for a client at the other end of standard input and output, which is how `ssh://` stores
 * and `nix-copy-closure` reach one. Format: `serve-protocol.hh`, and `opServe` in `nix-store.cc`.
 */
export async function serve(session: ToolSession, { flags, args }: OperationRequest): Promise<number> {
  const writable = readFlags(flags, ['--write']).has('--write');
  expectNoArguments(args);
  await new Serving(session, await session.store(), writable).run();
  return 0;
}

class Serving {
  readonly #session: ToolSession;
  readonly #store: ToolStore;
  readonly #writable: boolean;
  readonly #reader = new WireReader(process.stdin);
  #clientMinor = 0;

  constructor(session: ToolSession, store: ToolStore, writable: boolean) {
    this.#session = session;
    this.#store = store;
    this.#writable = writable;
  }

  async run(): Promise<void> {
    if ((await this.#reader.number()) !== CLIENT_MAGIC)
      throw new LarderError('serve-protocol', 'protocol mismatch');
    print(new WireWriter().number(SERVER_MAGIC).number(VERSION).finish());
    this.#clientMinor = (await this.#reader.number()) & 0xff;
    for (let command = await this.#next(); command !== undefined; command = await this.#next())
      await this.#answer(command);
  }

  /** The next command; undefined once the client has gone, which it does between two commands. */
  async #next(): Promise<number | undefined> {
    try {
      return await this.#reader.number();
    } catch (error) {
      if (hasCode(error, 'daemon-disconnected')) return undefined;
      throw error;
    }
  }

  #answer(command: number): Promise<void> {
    switch (command) {
      case COMMAND.queryValidPaths:
        return this.#queryValidPaths();
      case COMMAND.queryPathInfos:
        return this.#queryPathInfos();
      case COMMAND.dumpStorePath:
        return this.#dumpStorePath();
      case COMMAND.buildPaths:
        return this.#buildPaths();
      case COMMAND.queryClosure:
        return this.#queryClosure();
      case COMMAND.addToStoreNar:
        return this.#addToStoreNar();
      default:
        throw notSupported(
          `command ${command} of 'nix-store --serve'`,
          'ssh-ng:// reaches the daemon of an installed Nix there',
        );
    }
  }

  async #queryValidPaths(): Promise<void> {
    const lock = await this.#reader.boolean();
    const substitute = await this.#reader.boolean();
    const paths = await this.#paths();
    if (this.#writable && lock) for (const path of paths) await this.#addTempRoot(path);
    // Those that cannot be had are told of on standard error, and are not among the valid ones.
    if (this.#writable && substitute) {
      const targets = paths.filter((path) => !isDerivationPath(path));
      await realiseTargets(
        this.#session,
        targets.map((path): Target => ({ type: 'path', path })),
        {},
      );
    }
    this.#send(await this.#store.queryValidPaths(paths));
  }

  async #queryPathInfos(): Promise<void> {
    for (const path of await this.#paths()) {
      const info = await this.#store.queryPathInfo(path);
      if (info !== undefined) print(this.#describe(info).finish());
    }
    print(new WireWriter().string('').finish());
  }

  #describe(info: ValidPathInfo): WireWriter {
    const { storeDir } = this.#store;
    const writer = new WireWriter().string(storeDir.format(info.storePath));
    writer.string(info.deriver === undefined ? '' : storeDir.format(info.deriver));
    writer.strings(info.references.map((path) => storeDir.format(path)));
    const downloadSize = info.narSize; // Nothing is compressed on the way.
    writer.number(downloadSize).number(info.narSize);
    if (this.#clientMinor >= 4) {
      writer.string(info.narHash.format('nix32'));
      writer.string(info.ca === undefined ? '' : formatContentAddress(info.ca)).strings(info.signatures);
    }
    return writer;
  }

  async #dumpStorePath(): Promise<void> {
    const path = this.#store.storeDir.parse(await this.#reader.string());
    for await (const chunk of this.#store.openPacked(await queryValid(this.#store, path)).bytes) print(chunk);
  }

  async #queryClosure(): Promise<void> {
    const withOutputs = await this.#reader.boolean();
    const roots = new Set(await this.#paths());
    for (const root of roots) await queryValid(this.#store, root);
    for (;;) {
      const closure = await this.#store.queryClosure(roots);
      const before = roots.size;
      for (const { storePath } of closure) {
        if (!withOutputs || !isDerivationPath(storePath)) continue;
        const outputs = await this.#store.queryDerivationOutputs(storePath);
        for (const output of await this.#store.queryValidPaths(outputs.values())) roots.add(output);
      }
      if (roots.size > before) continue;
      this.#send(closure.map(({ storePath }) => storePath));
      return;
    }
  }

  async #addToStoreNar(): Promise<void> {
    this.#requireWritable('importing paths');
    const info = await this.#readPathInfo();
    const nar = this.#reader.bytes(info.narSize);
    const store = this.#store;
    if ('layout' in store) await addNar(store, info, nar);
    else await store.addToStore({ info, nar, checkSignatures: false });
    // What is valid already is not read; the next command stands behind it all the same.
    for await (const _ of nar);
    print(new WireWriter().number(1).finish());
  }

  async #readPathInfo(): Promise<ValidPathInfo> {
    const { storeDir } = this.#store;
    const storePath = storeDir.parse(await this.#reader.string());
    const deriver = await this.#reader.string();
    const narHash = parseHash(await this.#reader.string(), 'sha256');
    const references = (await this.#paths()).sort();
    await this.#reader.skipNumber(); // When the sender got it.
    const narSize = await this.#reader.number();
    await this.#reader.boolean(); // Whether the sender built it: that is nothing this machine knows.
    const signatures = await this.#reader.strings();
    const ca = await this.#reader.string();
    return {
      ...{ storePath, narHash, narSize, references, signatures },
      ...(deriver === '' ? {} : { deriver: storeDir.parse(deriver) }),
      ...(ca === '' ? {} : { ca: parseContentAddress(ca) }),
    };
  }

  async #buildPaths(): Promise<void> {
    this.#requireWritable('building paths');
    const { storeDir } = this.#store;
    const targets = (await this.#reader.strings()).map((text) => followToTarget(text, storeDir));
    await this.#readBuildSettings();
    const { status } = await realiseTargets(this.#session, targets, {});
    const answer = new WireWriter().number(status);
    // What failed is on standard error, which is the client's too.
    if (status !== 0) answer.string('the build failed on the other machine');
    print(answer.finish());
  }

  /** The client's own, for this build. As Nix has it, nothing is fetched: the client would have sent what it has. */
  async #readBuildSettings(): Promise<void> {
    const reader = this.#reader;
    const minor = this.#clientMinor;
    const given: [string, number][] = [
      ['max-silent-time', await reader.number()],
      ['timeout', await reader.number()],
    ];
    if (minor >= 2) given.push(['max-build-log-size', await reader.number()]);
    if (minor >= 3)
      given.push(['repeat', await reader.number()], ['enforce-determinism', await reader.number()]);
    if (minor >= 7) given.push(['keep-failed', await reader.number()]);
    given.push(['substitute', 0]);
    for (const [name, value] of given) {
      const text = ['enforce-determinism', 'keep-failed', 'substitute'].includes(name)
        ? String(value !== 0)
        : String(value);
      this.#session.settings.assign({ name, value: text, origin: 'the client' });
    }
  }

  #requireWritable(what: string): void {
    if (!this.#writable) throw new LarderError('serve-read-only', `${what} is not allowed`);
  }

  async #paths(): Promise<StorePath[]> {
    return (await this.#reader.strings()).map((path) => this.#store.storeDir.parse(path));
  }

  #send(paths: Iterable<StorePath>): void {
    const sorted = [...paths].sort();
    print(new WireWriter().strings(sorted.map((path) => this.#store.storeDir.format(path))).finish());
  }

  async #addTempRoot(path: StorePath): Promise<void> {
    if ('layout' in this.#store) await this.#store.addTempRoots([path]);
    else await this.#store.addTempRoot(path);
  }
}
