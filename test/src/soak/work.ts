import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { decompress } from '@larder/signing/codec';
import { LarderError } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { bare, commitOf, narInfoOf, type SamplePath, samplePath } from '../server/sample-path.js';
import type { SoakClient } from './client.js';
import type { Ledger, Release } from './ledger.js';

const API = '/api/v1/caches/main';
/** Pins of one pusher; each new release takes the place of an older one. */
const PINS = 6;

export interface Work {
  readonly client: SoakClient;
  readonly ledger: Ledger;
  readonly signal: AbortSignal;
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

/** Pushes release after release, by either protocol, alone or two clients at once, and pins each. */
export async function pushReleases(work: Work, name: string): Promise<void> {
  for (let at = 0; !work.signal.aborted; at++) {
    const release = makeRelease(`${name}-${at}`);
    const push = at % 3 === 2 ? pushAsStock : pushAsLarder;
    const since = Date.now();
    await Promise.all(Array.from({ length: at % 4 === 3 ? 2 : 1 }, () => push(work, release)));
    // With two at once, a path may have been there for as long as the first of them took.
    work.ledger.acknowledge(release, since);
    if (at % 5 !== 4) await pinRelease(work, `${name}-${random(PINS)}`, release);
  }
}

/** One path of many megabytes now and then: several parts of a multipart upload. */
function makeRelease(name: string): Release {
  const size = random(12) === 0 ? 7 * 2 ** 20 : random(200_000);
  const library = samplePath(`${name}-lib`, [], randomBytes(size).toString('hex'));
  const plugin = samplePath(`${name}-plugin`, [library], randomBytes(random(5000)).toString('hex'));
  return [library, plugin, samplePath(`${name}-app`, [library, plugin])];
}

async function pushAsLarder({ client }: Work, release: Release): Promise<void> {
  for (;;) {
    for (const path of release)
      await client.request(`${API}/nars/${bare(path.narHash)}?narSize=${path.nar.length}`, {
        method: 'PUT',
        body: path.nar,
      });
    const { status } = await client.json(
      `${API}/commit`,
      { paths: release.map(commitOf) },
      { expect: [409, 422] },
    );
    if (status === 200) return;
    // A NAR or a reference was collected in between: from the start.
    client.tally.retry(`commit ${status}`);
  }
}

/** NAR, then narinfo, path by path, references first, as `nix copy` does. */
async function pushAsStock({ client }: Work, release: Release): Promise<void> {
  for (;;) {
    let waiting = false;
    for (const path of release) {
      await client.request(`/main/nar/${bare(path.narHash)}.nar`, { method: 'PUT', body: path.nar });
      const { headers } = await client.request(`/main/${path.hashPart}.narinfo`, {
        method: 'PUT',
        body: narInfoOf(path),
      });
      waiting ||= headers.get('larder-waiting-for') !== null;
    }
    if (!waiting) return;
    client.tally.retry('narinfo waits');
  }
}

async function pinRelease(work: Work, name: string, release: Release): Promise<void> {
  const app = release.at(-1) as SamplePath;
  for (;;) {
    work.ledger.release(name);
    const { status } = await work.client.request(`${API}/pins/${name}`, {
      method: 'PUT',
      body: JSON.stringify({ paths: [app.storePath], keepLast: 1 }),
      expect: [409],
    });
    if (status < 300) {
      work.ledger.pin(name, release);
      return;
    }
    // Collected before it was pinned: its grace is over by now.
    work.client.tally.retry('pin 409');
    await pushAsLarder(work, release);
  }
}

/** Fetches what must be there, narinfo and NAR, and checks every byte. */
export async function pull({ client, ledger, signal }: Work): Promise<void> {
  while (!signal.aborted) {
    const { pinned } = ledger;
    const path = pinned[random(pinned.length)]?.at(random(3));
    if (path === undefined) await delay(100);
    else await fetchPath({ client, ledger }, path);
  }
}

/** Fetches one path. What is missing is a fault if it must be there still. */
export async function fetchPath(
  { client, ledger }: Pick<Work, 'client' | 'ledger'>,
  path: SamplePath,
): Promise<void> {
  const { storePath, hashPart, narHash } = path;
  const lost = (what: string): void => {
    if (ledger.mustHave(hashPart)) client.tally.faults.push(`${storePath}: ${what}`);
  };
  const narInfo = await client.request(`/main/${hashPart}.narinfo`, { expect: [404] });
  if (narInfo.status === 404) return lost('the narinfo is gone');
  const url = /^URL: (.*)$/m.exec(narInfo.body.toString())?.[1] ?? '';
  const nar = await client.request(`/main/${url}`, { expect: [404] });
  if (nar.status === 404) return lost('the NAR is gone');
  const hasher = new Hasher('sha256');
  for await (const chunk of decompress(Readable.from([nar.body]), 'zstd')) hasher.update(chunk);
  if (!hasher.digest().equals(narHash)) client.tally.faults.push(`${storePath}: the NAR is another`);
}

/** Asks for whole closures, and what of many paths is missing. */
export async function query({ client, ledger, signal }: Work): Promise<void> {
  while (!signal.aborted) {
    const { pinned } = ledger;
    const strangers = Array.from({ length: 300 }, (_, at) => `${stranger(at)}-stranger`);
    const paths = [...pinned.flat().map((path) => path.storePath), ...strangers];
    const answer = await client.json(`${API}/missing`, { paths });
    const missing = new Set((JSON.parse(answer.body.toString()) as { missing: string[] }).missing);
    for (const path of pinned.flat())
      if (missing.has(path.storePath) && ledger.mustHave(path.hashPart))
        client.tally.faults.push(`${path.storePath}: said to be missing`);
    if (!strangers.every((path) => missing.has(path)))
      client.tally.faults.push('strangers are said to be there');
    const release = pinned[random(pinned.length)];
    if (release !== undefined) await queryClosure({ client, ledger }, release);
    await delay(50);
  }
}

function stranger(at: number): string {
  return createHash('sha1').update(`${at}`).digest('hex').replaceAll('e', 'x').slice(0, 32);
}

async function queryClosure(
  { client, ledger }: Pick<Work, 'client' | 'ledger'>,
  release: Release,
): Promise<void> {
  const app = release.at(-1) as SamplePath;
  const { body } = await client.json(`${API}/closure`, { hashParts: [app.hashPart] });
  const count = Number(/^END (\d+)\n$/m.exec(body.toString())?.[1]);
  if (count !== release.length && ledger.mustHave(app.hashPart))
    client.tally.faults.push(`${app.storePath}: its closure has ${count} paths`);
}

/** Deletes what nothing keeps any more. */
export async function remove({ client, ledger, signal }: Work): Promise<void> {
  while (!signal.aborted) {
    await delay(300 + random(500));
    const app = ledger.takeLoose()?.at(-1);
    if (app !== undefined)
      await client.request(`${API}/paths/${app.storePath}`, { method: 'DELETE', expect: [404, 409] });
  }
}

/** Collects, as often as it is done with the last one. */
export async function collect({ client, signal }: Work): Promise<void> {
  while (!signal.aborted) {
    await client.json(`${API}/collections`, { dryRun: false }, { expect: [409] });
    await delay(2000);
  }
}

export interface Collected {
  readonly collections: number;
  readonly withdrawn: number;
}

/** What the last collections came to. */
export async function readCollected(client: SoakClient): Promise<Collected> {
  const { body } = await client.request(`${API}/collections`);
  const { collections } = JSON.parse(body.toString()) as {
    collections: { readonly id: number; readonly withdrawnPaths: number }[];
  };
  if (collections[0] === undefined) throw new LarderError('soak-failed', 'there was no collection');
  return {
    collections: collections[0].id,
    withdrawn: collections.reduce((sum, { withdrawnPaths }) => sum + withdrawnPaths, 0),
  };
}
