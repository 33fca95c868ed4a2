import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { createStore, expression, isPublished, larderAt, narInfoFile, storeUri } from './publishing.js';

test('push leaves out what an upstream has: by the name of its key, or by asking it', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const key = store.scratch.join('key');
  await store.run('nix-store', ['--generate-binary-cache-key', 'upstream-1', key, `${key}.pub`]);
  const output = await store.run('nix-store', [
    '--realise',
    (await store.instantiate(expression('upstream')))[0]!,
  ]);
  const [below = ''] = (await store.pathInfo(output))[0]!.references;
  const upstream = store.scratch.join('upstream');
  await store.run('nix', ['copy', '--to', `file://${upstream}`, below]);

  const asked = store.scratch.join('asked');
  const push = (cache: string, ...args: string[]) =>
    larderAt(store, ['push', `file://${cache}`, '--store', storeUri(store), output, ...args]);
  const byAsking = await push(asked, '--upstream', `file://${upstream}`);
  assert.equal(byAsking.status, 0, byAsking.stderr);
  assert.deepEqual(
    [output, below].map((path) => isPublished(asked, path)),
    [true, false],
  );

  await store.run('nix', ['store', 'sign', '--key-file', key, below]);
  const named = store.scratch.join('named');
  const byKey = await push(named, '--upstream-key', 'upstream-1', '--jobs', '2');
  assert.equal(byKey.status, 0, byKey.stderr);
  assert.deepEqual(
    [output, below].map((path) => isPublished(named, path)),
    [true, false],
  );
});

test('push signs with a key of ones own, reads paths from standard input and takes logs along', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  await using store = await createStore();
  const key = store.scratch.join('key');
  await store.run('nix-store', ['--generate-binary-cache-key', 'own-1', key, `${key}.pub`]);
  const [derivation = ''] = await store.instantiate(expression('signed'));
  const output = await store.run('nix-store', ['--realise', derivation]);
  const options = ['--store', storeUri(store), '--token-file', server.tokenFile, '--secret-key-file', key];
  const { tryProgram } = await import('../oracle/program.js');
  const { larderExecutable } = await import('../larder/larder.js');
  const pushed = await tryProgram(
    process.execPath,
    [larderExecutable, 'push', server.cache, '--stdin', ...options],
    {
      env: store.environment,
      input: `${output}\n`,
    },
  );
  assert.equal(pushed.status, 0, pushed.stderr);
  const narInfo = await (await fetch(`${server.cache}/${narInfoFile('', output).slice(1)}`)).text();
  assert.match(narInfo, /^Sig: own-1:/m);
  assert.match(narInfo, /^Sig: main-1:/m);
  assert.equal((await fetch(`${server.cache}/log/${derivation.replace('/nix/store/', '')}`)).status, 200);

  // The same to a plain directory: signed too, the log beside it.
  const cache = store.scratch.join('cache-files');
  const copied = await larderAt(store, ['push', `file://${cache}`, output, ...options]);
  assert.equal(copied.status, 0, copied.stderr);
  assert.match(await readFile(narInfoFile(cache, output), 'utf8'), /^Sig: own-1:/m);
  assert.equal((await readdir(`${cache}/log`)).length, 2);
});
