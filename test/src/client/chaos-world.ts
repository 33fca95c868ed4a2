import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { formatBase32 } from '@larder/signing/base32';
import { computeHash } from '@larder/signing/hash';
import { SecretKey } from '@larder/signing/key';
import { dumpNar } from '@larder/signing/nar-writer';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { parseStorePath, storePathHashPart } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import { SeededRandom } from '../closures/random.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { TestServer } from '../server/running.js';
import { bare, commitOf, type SamplePath, textPath } from '../server/sample-path.js';
import { defaultStoreDir } from '../store-dir.js';

/** Bytes of what does not compress in each package: some come in batches, some alone, some stream. */
const sizes = [300, 2000, 9000, 70_000, 140_000, 700_000];

/** Two releases of a closure, published by a server and lying in its bucket with the deltas between them. */
export interface ChaosWorld extends AsyncDisposable {
  readonly server: TestServer;
  /** The bucket: a cache by itself. */
  readonly bucket: string;
  readonly old: readonly SamplePath[];
  readonly fresh: readonly SamplePath[];
  readonly keys: readonly string[];
  /** Of the new release, signed by a trusted key: what the paths were before they were built again, and are no more. */
  readonly stale: ReadonlyMap<string, string>;
}

export async function makeChaosWorld(): Promise<ChaosWorld> {
  const scratch = await makeScratch('chaos');
  const server = await TestServer.start();
  const old = await makeRelease(scratch, '1.0');
  const fresh = await makeRelease(scratch, '1.1');
  for (const paths of [old, fresh]) await publish(server, paths);
  for (const [index, { narHash }] of old.entries())
    await server.fetch(`/main/delta/${bare(narHash)}/${bare(fresh[index]!.narHash)}.zst`);
  const { publicKeys } = (await (await server.fetch('/api/v1/caches/main')).json()) as {
    publicKeys: string[];
  };
  const staleKey = SecretKey.generate('stale-1');
  return {
    server,
    bucket: server.scratch.join('data/storage/main'),
    old,
    fresh,
    keys: [...publicKeys, staleKey.publicKey().format()],
    stale: await staleNarInfos(server, fresh, staleKey),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

async function publish(server: TestServer, paths: readonly SamplePath[]): Promise<void> {
  for (const { narHash, nar } of paths)
    await server.put(`/api/v1/caches/main/nars/${bare(narHash)}?narSize=${nar.length}`, nar);
  const answer = await server.post('/api/v1/caches/main/commit', { paths: paths.map(commitOf) });
  if (answer.status !== 200) throw new Error(await answer.text());
}

/** Packages that refer to all before them; the last reaches every one. The first is a text, proven by its own name. */
async function makeRelease(scratch: Scratch, version: string): Promise<SamplePath[]> {
  const paths: SamplePath[] = [textPath(`notes-${version}`, `Notes on ${version}\n`)];
  for (const [index, size] of sizes.entries())
    paths.push(await makePackage(scratch, `package${index}-${version}`, { size, references: paths }));
  return paths;
}

interface PackageOptions {
  readonly size: number;
  readonly references: readonly SamplePath[];
}

async function makePackage(
  scratch: Scratch,
  name: string,
  { size, references }: PackageOptions,
): Promise<SamplePath> {
  const tree = scratch.join(name);
  const storePaths = references.map(({ storePath }) => storePath).sort();
  await mkdir(`${tree}/bin`, { recursive: true });
  const mentions = storePaths.map((path) => `. /nix/store/${path}/lib\n`).join('');
  await writeFile(`${tree}/bin/run`, `#!/bin/sh\n${mentions}`, { mode: 0o755 });
  await symlink('bin/run', `${tree}/run`);
  // The same of every version, but for its number.
  const body = new SeededRandom(name.split('-')[0]!).bytes(size);
  await writeFile(`${tree}/lib`, Buffer.concat([Buffer.from(name), body]));
  const nar = Buffer.concat([...dumpNar(tree)]);
  const storePath = parseStorePath(`${formatBase32(createHash('sha1').update(name).digest())}-${name}`);
  const hashPart = storePathHashPart(storePath);
  return { storePath, hashPart, nar, narHash: computeHash('sha256', nar), references: storePaths };
}

async function staleNarInfos(
  server: TestServer,
  paths: readonly SamplePath[],
  key: SecretKey,
): Promise<Map<string, string>> {
  const stale = new Map<string, string>();
  for (const { hashPart } of paths) {
    const text = await (await server.fetch(`/main/${hashPart}.narinfo`)).text();
    const info = parseNarInfo(text, defaultStoreDir);
    const narHash = computeHash('sha256', `${hashPart} as it was`);
    const url = `nar/${bare(narHash)}.nar.zst`;
    const before = { ...info, narHash, url, signatures: [], fileHash: undefined };
    stale.set(
      hashPart,
      formatNarInfo({ ...before, ...signPathInfo(before, [key], defaultStoreDir) }, defaultStoreDir),
    );
  }
  return stale;
}
