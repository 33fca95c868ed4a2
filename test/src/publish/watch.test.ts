import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larderExecutable } from '../larder/larder.js';
import type { Nix } from '../oracle/nix.js';
import {
  createStore,
  eventually,
  expression,
  isPublished,
  larderAt,
  queueFile,
  storeUri,
} from './publishing.js';

test('watch-store publishes what appears, and goes on where it ended', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const cache = store.scratch.join('cache-files');
  const [early] = await store.add(store.scratch.join('conf'));
  const first = await startWatch(store, cache);
  const [derivation = ''] = await store.instantiate(expression('watched'));
  const output = await store.run('nix-store', ['--realise', derivation]);
  await eventually('the output is published', () => isPublished(cache, output));
  assert.equal(isPublished(cache, derivation), false, 'derivations are not asked for');
  assert.equal(isPublished(cache, early!), false, 'it was there before');
  await stopWatch(first, 'SIGKILL');

  const meanwhile = await store.run('nix-store', [
    '--realise',
    (await store.instantiate(expression('missed')))[0]!,
  ]);
  const excluded = (await store.add(larderExecutable))[0]!;
  const second = await startWatch(store, cache, ['--exclude', 'larder']);
  await eventually('what it missed is published', () => isPublished(cache, meanwhile));
  await stopWatch(second, 'SIGTERM');
  assert.equal(isPublished(cache, excluded), false);
});

async function startWatch(store: Nix, cache: string, args: readonly string[] = []): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [larderExecutable, 'watch-store', `file://${cache}`, '--store', storeUri(store), ...args],
    { env: { ...store.environment, LARDER_QUEUE: queueFile(store) }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await eventually('it watches', () => said.includes('watching'));
  return child;
}

async function stopWatch(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

test('watch-exec publishes all that a command builds and ends as the command does', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const cache = store.scratch.join('cache-files');
  const { command, args } = store.command('nix-build', ['--no-out-link', '-E', expression('executed')]);
  const watch = ['watch-exec', `file://${cache}`, '--store', storeUri(store), '--'];
  const built = await larderAt(store, [...watch, command, ...args]);
  assert.equal(built.status, 0, built.stderr);
  const output = built.stdout.toString().trim();
  assert.ok(isPublished(cache, output));
  const below = (await store.pathInfo(output))[0]!.references;
  assert.ok(below.length > 0 && below.every((path) => isPublished(cache, path)));
  const failed = await larderAt(store, [...watch, 'sh', '-c', 'exit 7']);
  assert.equal(failed.status, 7);
});
