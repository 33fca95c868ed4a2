import assert from 'node:assert/strict';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import type { TestServer } from '../server/running.js';
import { bare, commitOf, type SamplePath, samplePath } from '../server/sample-path.js';

/** Packages that look like some of nixpkgs', each with what it needs and its size in KiB. */
const packages: readonly (readonly [name: string, kib: number, ...needs: string[]])[] = [
  ['glibc-2.40-66', 290],
  ['zlib-1.3.1', 12, 'glibc-2.40-66'],
  ['bash-5.2p37', 18, 'glibc-2.40-66'],
  ['openssl-3.4.1', 64, 'glibc-2.40-66'],
  ['openssl-3.4.1-dev', 9, 'openssl-3.4.1'],
  ['openssl-3.3.3', 61, 'glibc-2.40-66'],
  ['gcc-14.2.1-lib', 96, 'glibc-2.40-66'],
  ['icu4c-76.1', 380, 'gcc-14.2.1-lib'],
  ['sqlite-3.48.0', 17, 'zlib-1.3.1'],
  ['expat-2.7.1', 4, 'glibc-2.40-66'],
  ['libffi-3.4.7', 3, 'glibc-2.40-66'],
  ['ncurses-6.5', 33, 'glibc-2.40-66'],
  ['readline-8.2p13', 5, 'ncurses-6.5'],
  ['tzdata-2025b', 18],
  ['mailcap-2.1.54', 2],
  [
    'python3-3.12.9',
    520,
    ...['openssl-3.4.1', 'sqlite-3.48.0', 'expat-2.7.1', 'libffi-3.4.7', 'readline-8.2p13', 'tzdata-2025b'],
    ...['mailcap-2.1.54', 'bash-5.2p37', 'zlib-1.3.1'],
  ],
  ['python3.12-certifi-2025.1.31', 3, 'python3-3.12.9'],
  ['python3.12-idna-3.10', 4, 'python3-3.12.9'],
  ['python3.12-urllib3-2.3.0', 8, 'python3-3.12.9'],
  [
    'python3.12-requests-2.32.3',
    7,
    ...['python3-3.12.9', 'python3.12-certifi-2025.1.31', 'python3.12-idna-3.10', 'python3.12-urllib3-2.3.0'],
  ],
  ['nodejs-22.14.0', 610, 'icu4c-76.1', 'openssl-3.4.1', 'zlib-1.3.1', 'gcc-14.2.1-lib', 'python3-3.12.9'],
  ['larder-0.1.0', 140, 'nodejs-22.14.0', 'bash-5.2p37'],
  ['nginx-1.27.4', 24, 'openssl-3.4.1', 'zlib-1.3.1'],
  ['linux-6.12.19', 700],
  [
    'nixos-system-kitchen-25.05',
    6,
    ...['linux-6.12.19', 'larder-0.1.0', 'nginx-1.27.4', 'bash-5.2p37', 'python3.12-requests-2.32.3'],
  ],
];

/** Text of a size that compresses as programs do. */
function padding(name: string, kib: number): string {
  let text = '';
  for (let line = 0; text.length < kib * 1024; line++)
    text += `${name} ${(line * 2_654_435_761) % 4_294_967_296}\n`;
  return text;
}

/** Puts packages into the cache `main`; gives them by name. */
export async function stockUp(server: TestServer): Promise<ReadonlyMap<string, SamplePath>> {
  const made = new Map<string, SamplePath>();
  for (const [name, kib, ...needs] of packages) {
    const references = needs.map((need) => made.get(need) as SamplePath);
    made.set(name, samplePath(name, references, padding(name, kib)));
  }
  const paths = [...made.values()];
  for (const path of paths) {
    const answer = await server.put(
      `/api/v1/caches/main/nars/${bare(path.narHash)}?narSize=${path.nar.length}`,
      path.nar,
    );
    assert.ok(answer.ok, await answer.text());
  }
  const committed = await server.post('/api/v1/caches/main/commit', {
    paths: paths.map((path) => ({ ...commitOf(path), deriver: deriverOf(path) })),
  });
  assert.equal(committed.status, 200, await committed.text());
  return made;
}

/** What the path says it was made by. */
export function deriverOf({ storePath }: SamplePath): StorePath {
  return parseStorePath(`${storePath}.drv`);
}
