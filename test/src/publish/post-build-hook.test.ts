import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { freePort } from '../engines/scratch.js';
import { Larder, larderExecutable } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import {
  createStore,
  eventually,
  expression,
  isPublished,
  larderAt,
  queueFile,
  storeUri,
  writeHook,
} from './publishing.js';

test('what stock Nix builds while the cache is down is kept, and published once it is up', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using larder = await Larder.create();
  const port = await freePort();
  await using store = await createStore();
  await using other = await createStore();
  // Only for its token: the server is down while Nix builds.
  const first = await LarderServer.start(larder, { port });
  const key = (await first.publicKeys())[0]!;
  await first.stop();
  const hook = await writeHook(store, [first.cache, '--token-file', first.tokenFile, '--no-start']);
  const [derivation = ''] = await store.instantiate(expression('hooked'));
  const settings = ['--option', 'post-build-hook', hook];
  const output = await store.run('nix-store', ['--realise', derivation, ...settings]);

  const failed = await larderAt(store, ['queue', 'flush', '--attempts', '1'], {
    NIX_CONFIG: 'download-attempts = 1',
  });
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /2 paths could not be pushed and still wait/);
  const status = JSON.parse((await larderAt(store, ['queue', 'status', '--json'])).stdout.toString());
  assert.equal(status.waiting, 2);
  assert.match(status.targets[0].error, /no answer/);
  // What waits is kept from the garbage collector, although nothing else needs it.
  await store.run('nix-store', ['--gc']);
  await store.run('nix-store', ['--verify-path', output]);

  await using server = await LarderServer.start(larder, { port });
  const flushed = await larderAt(store, ['queue', 'flush']);
  assert.equal(flushed.status, 0, flushed.stderr);
  const fetched = await other.try('nix', [
    'copy',
    '--from',
    server.cache,
    output,
    '--option',
    'trusted-public-keys',
    key,
  ]);
  assert.equal(fetched.status, 0, fetched.stderr);
  const log = await fetch(`${server.cache}/log/${derivation.replace('/nix/store/', '')}`);
  assert.equal(log.status, 200);
  const below = await fetch(
    `${server.cache}/log/${(await derivationBelow(store, derivation)).replace('/nix/store/', '')}`,
  );
  assert.match(await below.text(), /building hooked/);
  const roots = `${store.root}/nix/var/nix/gcroots/larder-push`;
  assert.deepEqual(await readdir(roots), []);
});

async function derivationBelow(
  store: Awaited<ReturnType<typeof createStore>>,
  derivation: string,
): Promise<string> {
  const all = (await store.run('nix-store', ['--query', '--requisites', derivation])).split('\n');
  return all.find((path) => path.includes('-below-'))!;
}

test('the hook starts a worker by itself, one for many builds, which ends when it has nothing to do', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const cache = store.scratch.join('cache-files');
  const hook = await writeHook(store, [`file://${cache}`]);
  const [derivation = ''] = await store.instantiate(expression('started'));
  const settings = ['--option', 'post-build-hook', hook];
  const output = await store.run('nix-store', ['--realise', derivation, ...settings]);
  await eventually('it is published', () => isPublished(cache, output));
  const waited = await larderAt(store, ['queue', 'flush']);
  assert.equal(waited.status, 0, waited.stderr);
  // It lingers for the next build; a test does not.
  const { default: Database } = await import('better-sqlite3');
  const db = new Database(queueFile(store), { readonly: true });
  const { pid } = db.prepare('select pid from worker').get() as { pid: number };
  db.close();
  process.kill(pid, 'SIGTERM');
  await eventually('the worker has ended', () => !existsSync(`/proc/${pid}`));
});

test('a worker that is killed loses nothing: the next one goes on', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using store = await createStore();
  const cache = store.scratch.join('cache-files');
  const trees = Array.from({ length: 12 }, (_, index) => store.scratch.join(`tree-${index}`));
  const { writeFile } = await import('node:fs/promises');
  for (const [index, tree] of trees.entries()) await writeFile(tree, Buffer.alloc(300_000, index));
  const paths = await store.add(...trees);
  const added = await larderAt(store, [
    'queue',
    'add',
    `file://${cache}?compression=xz`,
    '--store',
    storeUri(store),
    ...paths,
  ]);
  assert.equal(added.status, 0, added.stderr);
  const worker = spawn(process.execPath, [larderExecutable, 'queue', 'run'], {
    env: { ...store.environment, LARDER_QUEUE: queueFile(store) },
    stdio: 'ignore',
  });
  await eventually('it has begun', () => existsSync(`${cache}/nix-cache-info`));
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  const flushed = await larderAt(store, ['queue', 'flush']);
  assert.equal(flushed.status, 0, flushed.stderr);
  for (const path of paths) assert.ok(isPublished(cache, path), path);
});

test('the hook never fails a build, whatever is wrong', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using store = await createStore();
  const path = (await store.add(larderExecutable))[0]!;
  const hook = ['post-build-hook', 'http://127.0.0.1:1/main', '--queue', '/dev/null/queue'];
  const result = await larderAt(store, hook, { OUT_PATHS: path });
  assert.equal(result.status, 0);
  assert.match(
    result.stderr,
    /not queued for http:\/\/127.0.0.1:1\/main: the queue \/dev\/null\/queue cannot be used/,
  );
});
