import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { StorePath } from '@larder/signing/store-path';
import { verifyPaths } from '@larder/substituter/care/verify-paths';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { SeededRandom } from '../closures/random.js';
import { needsComponent } from '../engines/components.js';
import { startNginx } from '../engines/nginx.js';
import { Nix } from '../oracle/nix.js';
import { larderEnvironment, larderProgram, TestClient } from './client.js';
import { assertStoreIsSound } from './store-checks.js';

const kills = 25;

test(`a copy killed ${kills} times at random leaves only sound paths, and the next one completes it`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'nginx')) return;
  await using nix = await Nix.create();
  await using client = TestClient.create();
  const objects = await makeClosure(nix.scratch.join('trees'), {
    seed: 'crash',
    paths: 80,
    bytes: 30_000_000,
  });
  const paths = await importClosure(nix, objects);
  const directory = nix.scratch.join('cache');
  await client.copy([objects.at(-1)!.storePath], {
    from: [`local?root=${nix.root}`],
    to: `file://${directory}`,
  });
  await using server = await startNginx(directory);
  const random = new SeededRandom('crash');
  let root = nix.scratch.join('store-0');
  let interrupted = 0;
  for (let kill = 1; kill <= kills; kill++) {
    const code = await killCopy({ url: server.url, root, path: paths.at(-1)!, random, total: paths.length });
    const valid = await soundPaths(client, root);
    if (code === null && valid.length > 0 && valid.length < paths.length) interrupted++;
    // Start anew now and then, so that kills fall on every part of the work.
    if (code === 0 || kill % 5 === 0) root = nix.scratch.join(`store-${kill}`);
  }
  t.diagnostic(`${interrupted} of ${kills} kills left a store half full`);
  assert.ok(interrupted > 0, 'no kill fell between two commits');
  const { copied } = await client.copy([objects.at(-1)!.storePath], {
    from: [server.url],
    to: `local?root=${root}`,
  });
  assert.ok(copied.length <= paths.length);
  await assertStoreIsSound(nix, root, paths);
  const left = (await readdir(`${root}/nix/store`)).filter((name) => name !== '.links');
  assert.deepEqual(left.sort(), objects.map(({ storePath }) => storePath).sort());
});

interface KilledCopy {
  readonly url: string;
  readonly root: string;
  readonly path: string;
  readonly random: SeededRandom;
  readonly total: number;
}

/** Runs a copy and kills it a random while after a random path came in; gives its exit code, `null` if killed. */
async function killCopy({ url, root, path, random, total }: KilledCopy): Promise<number | null> {
  const command = ['copy', '--json', '--no-require-sigs', '--from', url, '--to', `local?root=${root}`, path];
  const child = spawn(process.execPath, [larderProgram, ...command], {
    env: larderEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit') as Promise<[code: number | null]>;
  const after = random.below(total);
  const pause = random.below(60);
  let finished = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.includes('"finished"') || finished++ !== after) continue;
    setTimeout(() => child.kill('SIGKILL'), pause);
  }
  return (await ended)[0];
}

/** The valid paths of the store, each of which must be whole, with all it refers to. */
async function soundPaths(client: TestClient, root: string): Promise<StorePath[]> {
  const store = await client.openStore(root);
  try {
    const valid = await store.queryAllValidPaths();
    const verdicts = await verifyPaths(valid, {
      source: store,
      work: client.context.work,
      contents: true,
      concurrency: 4,
    });
    assert.deepEqual(
      verdicts.flatMap(({ path, details }) => details.map((detail) => `${path} ${detail}`)),
      [],
    );
    const known = new Set(valid);
    for (const path of valid) {
      for (const reference of (await store.queryPathInfo(path))!.references)
        assert.ok(known.has(reference), `${path} refers to ${reference}`);
    }
    return valid;
  } finally {
    await store.close();
  }
}
