import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { addPath, addText } from '@larder/substituter/local-store/add-path';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { hardTrees } from '../trees.js';
import { TestClient } from './client.js';
import { assertStoreIsSound, query } from './store-checks.js';

describe('a store that Nix and we share', () => {
  test('we read what Nix registered: details, references, referrers, closures, outputs', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'read', paths: 10 });
    const paths = await importClosure(nix, objects);
    const store = await client.openStore(nix.root!);
    const full = (found: Iterable<StorePath>) => [...found].map((path) => store.storeDir.format(path)).sort();
    try {
      for (const theirs of await nix.pathInfo(...paths)) {
        const ours = (await store.queryPathInfo(store.storeDir.parse(theirs.path)))!;
        assert.equal(ours.narHash.format('sri'), theirs.narHash);
        assert.equal(ours.narSize, theirs.narSize);
        assert.deepEqual(full(ours.references), [...theirs.references].sort());
        assert.equal(ours.deriver === undefined ? undefined : full([ours.deriver])[0], theirs.deriver);
        assert.deepEqual(
          full(await store.queryReferrers(ours.storePath)),
          await query(nix, nix.root!, ['--referrers', theirs.path]),
        );
      }
      const last = objects.at(-1)!.storePath;
      const closure = (await store.queryClosure([last])).map(({ storePath }) => storePath);
      assert.deepEqual(full(closure), await query(nix, nix.root!, ['--requisites', paths.at(-1)!]));
      assert.equal(closure.at(-1), last);
      assert.deepEqual(
        full(await store.queryReferrersClosure([objects[0]!.storePath])),
        await query(nix, nix.root!, ['--referrers-closure', paths[0]!]),
      );
      assert.deepEqual(full(await store.queryAllValidPaths()), [...paths].sort());
      assert.equal(await store.queryPathFromHashPart(last.slice(0, 32)), last);
      assert.equal(await store.queryPathFromHashPart('0'.repeat(32)), undefined);
    } finally {
      await store.close();
    }
  });

  test('Nix reads what we registered, derivations and their outputs too', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    const expression =
      'derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ]; }';
    const [derivation = ''] = await nix.instantiate(expression);
    const root = nix.scratch.join('ours');
    const path = parseStorePath(derivation.slice('/nix/store/'.length));
    await client.copy([path], { from: [`local?root=${nix.root}`], to: `local?root=${root}` });
    await assertStoreIsSound(nix, root, [derivation]);
    assert.deepEqual(
      await query(nix, root, ['--outputs', derivation]),
      await query(nix, nix.root!, ['--outputs', derivation]),
    );
    const [output = ''] = await query(nix, root, ['--outputs', derivation]);
    const store = await client.openStore(root);
    try {
      assert.deepEqual(await store.queryValidDerivers(store.storeDir.parse(output)), [path]);
    } finally {
      await store.close();
    }
  });

  for (const { name, make } of hardTrees) {
    test(`adding ${name} gives the path that Nix gives it`, async (t) => {
      if (!needsComponent(t, 'nix')) return;
      await using nix = await Nix.create();
      await using client = TestClient.create();
      const tree = nix.scratch.join('tree');
      await make(tree);
      const [theirs = ''] = await nix.add(tree);
      const store = await client.openStore(nix.scratch.join('ours'));
      try {
        const info = await addPath(store, tree);
        assert.equal(store.storeDir.format(info.storePath), theirs);
        assert.equal((await addPath(store, tree)).storePath, info.storePath);
      } finally {
        await store.close();
      }
      await assertStoreIsSound(nix, nix.scratch.join('ours'), [theirs]);
    });
  }

  test('flat files, other hashes and texts get the paths that Nix gives them', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    const file = nix.scratch.join('file');
    await writeFile(file, 'contents\n');
    const fixed = (...args: string[]) => nix.run('nix-store', ['--add-fixed', ...args, file]);
    const text = await nix.run('nix-instantiate', [
      '--eval',
      '-E',
      'builtins.toFile "t" "contents\\n"',
      '--json',
      '--read-write-mode',
    ]);
    const store = await client.openStore(nix.scratch.join('ours'));
    try {
      const full = async (adding: Promise<{ storePath: StorePath }>) =>
        store.storeDir.format((await adding).storePath);
      assert.equal(await full(addPath(store, file, { method: 'flat' })), await fixed('sha256'));
      assert.equal(
        await full(addPath(store, file, { method: 'flat', algorithm: 'sha1' })),
        await fixed('sha1'),
      );
      assert.equal(
        await full(addPath(store, file, { algorithm: 'sha512' })),
        await fixed('--recursive', 'sha512'),
      );
      assert.equal(await full(addText(store, { name: 't', text: 'contents\n' })), JSON.parse(text));
    } finally {
      await store.close();
    }
  });

  test("Nix's lock on a path holds us up, and its end lets us go on", async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    await mkdir(nix.scratch.join('tree'));
    const [path = ''] = await nix.add(nix.scratch.join('tree'));
    const storePath = parseStorePath(path.slice('/nix/store/'.length));
    const root = nix.scratch.join('ours');
    await (await client.openStore(root)).close();

    // What Nix does: flock(2) on <path>.lock; at the end the file is unlinked and marked as stale.
    const lock = `${root}/nix/store/${storePath}.lock`;
    const script = 'exec 9>>"$1"; flock -x 9; echo held; read -r _; rm "$1"; printf d >&9';
    const holder = spawn('bash', ['-c', script, 'bash', lock], { stdio: ['pipe', 'pipe', 'inherit'] });
    const released = once(holder, 'close');
    await once(holder.stdout, 'data');
    const waits: string[] = [];
    let done = false;
    const copying = client
      .copy([storePath], {
        from: [`local?root=${nix.root}`],
        to: `local?root=${root}`,
        onEvent: (event) => {
          if (event.type === 'waiting') waits.push(event.path);
        },
      })
      .then(() => {
        done = true;
      });
    while (waits.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(done, false);
    holder.stdin.end('\n');
    await copying;
    await released;
    assert.equal(existsSync(lock), false);
    await assertStoreIsSound(nix, root, [path]);
  });

  test('several copies of one closure into one store at once share the work, and all succeed', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const objects = await makeClosure(nix.scratch.join('trees'), {
      seed: 'race',
      paths: 40,
      bytes: 6_000_000,
    });
    const paths = await importClosure(nix, objects);
    const root = nix.scratch.join('ours');
    const copies = Array.from({ length: 3 }, async () => {
      await using client = TestClient.create();
      const events: CopyEvent[] = [];
      await client.copy([objects.at(-1)!.storePath], {
        from: [`local?root=${nix.root}`],
        to: `local?root=${root}`,
        onEvent: (event) => events.push(event),
      });
      return events.filter(({ type }) => type === 'waiting').length;
    });
    const waits = await Promise.all(copies);
    t.diagnostic(`waited for each other ${waits.join(', ')} times`);
    await assertStoreIsSound(nix, root, paths);
  });

  test("Nix's garbage collector leaves alone what we are using, and takes it when we are gone", async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    await mkdir(nix.scratch.join('tree'));
    const [path = ''] = await nix.add(nix.scratch.join('tree'));
    const store = await client.openStore(nix.root!);
    const storePath = store.storeDir.parse(path);
    const coming = parseStorePath(`${'1'.repeat(32)}-coming`);
    assert.deepEqual(await store.queryMissing([storePath, coming]), new Set([coming]));
    const staged = (await store.stage(coming))!;
    await mkdir(staged.directory);
    await nix.run('nix-store', ['--gc']);
    assert.ok(existsSync(nix.realPath(path)), 'a temporary root was collected');
    assert.ok(existsSync(staged.directory), 'what is being added was collected');
    assert.ok(await store.queryPathInfo(storePath));
    staged.release();
    await store.close();
    await nix.run('nix-store', ['--gc']);
    assert.equal(existsSync(nix.realPath(path)), false);
    assert.equal(existsSync(staged.directory), false);
  });

  test('a collector that is already running is told what we use', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    await mkdir(nix.scratch.join('tree'));
    const [path = ''] = await nix.add(nix.scratch.join('tree'));
    const pipe = nix.scratch.join('sync');
    // Nix's own point of synchronisation: it waits to read this pipe after it has taken the lock.
    execFileSync('mkfifo', [pipe]);
    const collecting = nix.run('nix-store', ['--gc'], {
      env: { ...nix.environment, _NIX_TEST_GC_SYNC: pipe },
    });
    const writer = spawn('sh', ['-c', 'exec 3>"$1"; echo open; read -r _; exec 3>&-', 'sh', pipe], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(writer.stdout, 'data');
    const store = await client.openStore(nix.root!);
    try {
      await store.addTempRoots([store.storeDir.parse(path)]);
      writer.stdin.end('\n');
      await collecting;
      assert.ok(existsSync(nix.realPath(path)), 'the collector took a path it had been told of');
    } finally {
      await store.close();
    }
  });
});
