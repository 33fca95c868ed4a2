import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseCacheDescription } from '@larder/signing/upload';
import { needsComponent } from '../engines/components.js';
import type { Nix } from '../oracle/nix.js';
import { createStore, larderAt, storeUri } from '../publish/publishing.js';
import { TestServer } from '../server/running.js';
import { contentAddressed } from './content-addressed.js';
import { buildWithLarder } from './larder-build.js';

// Input-addressed outputs are signed by the server, realisations of the others by whoever built them.

const sandbox = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' };

interface BuilderKey {
  /** The file with the secret key. */
  readonly file: string;
  readonly publicKey: string;
}

async function makeKey(store: Nix): Promise<BuilderKey> {
  const file = store.scratch.join('key');
  await store.run('nix-store', ['--generate-binary-cache-key', 'builder-1', file, `${file}.pub`]);
  return { file, publicKey: (await readFile(`${file}.pub`, 'utf8')).trim() };
}

/** Settings of a machine that builds from the server's cache. */
async function trust(server: TestServer, builder: BuilderKey): Promise<Readonly<Record<string, string>>> {
  const { publicKeys } = parseCacheDescription(await (await server.fetch('/api/v1/caches/main')).json());
  return {
    substituters: `${server.url}/main`,
    'trusted-public-keys': [...publicKeys, builder.publicKey].join(' '),
  };
}

test('what our builder published through a server, content-addressed too, stock Nix has not to build', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using ours = await createStore();
  await using theirs = await createStore();
  await using server = await TestServer.start();
  const key = await makeKey(ours);
  const expression = contentAddressed('our way');
  const [derivation = ''] = await ours.instantiate(expression);
  const built = await buildWithLarder(ours, [derivation], { ...sandbox, 'secret-key-files': key.file });
  assert.equal(built.status, 0, built.stderr);
  const output = built.stdout.toString().trim();
  const token = ours.scratch.join('token');
  await writeFile(token, server.token, { mode: 0o600 });
  const target = ['--store', storeUri(ours), '--token-file', token];
  const pushed = await larderAt(ours, ['push', `${server.url}/main`, ...target, output]);
  assert.equal(pushed.status, 0, pushed.stderr);

  await theirs.instantiate(expression);
  await theirs.configure({ ...sandbox, ...(await trust(server, key)) });
  const realised = await theirs.try('nix-store', ['--realise', derivation]);
  assert.equal(realised.status, 0, realised.stderr);
  assert.equal(realised.stdout.toString().trim(), output);
  assert.doesNotMatch(realised.stderr, /^building/m);
});

test('what stock Nix published through a server, content-addressed too, our builder has not to build', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using ours = await createStore();
  await using theirs = await createStore();
  await using server = await TestServer.start();
  const key = await makeKey(theirs);
  await theirs.configure({ ...sandbox, 'secret-key-files': key.file });
  await theirs.login(server.token);
  const file = theirs.scratch.join('expression.nix');
  await writeFile(file, contentAddressed('their way'));
  const built = await theirs.run('nix-build', [file, '--no-out-link']);
  await theirs.run('nix', ['copy', '--to', `${server.url}/main`, '--file', file]);

  const [derivation = ''] = await ours.instantiate(contentAddressed('their way'));
  const realised = await buildWithLarder(ours, [derivation], { ...sandbox, ...(await trust(server, key)) });
  assert.equal(realised.status, 0, realised.stderr);
  assert.equal(realised.stdout.toString().trim(), built);
  assert.doesNotMatch(realised.stderr, /^building/m);

  // An output in the middle, which only its realisation tells of.
  await using fresh = await createStore();
  const middle = contentAddressed('their way').replace(/in sh .*$/, 'in several');
  const [several = ''] = await fresh.instantiate(middle);
  const fetched = await buildWithLarder(fresh, [several], { ...sandbox, ...(await trust(server, key)) });
  assert.equal(fetched.status, 0, fetched.stderr);
  assert.doesNotMatch(fetched.stderr, /^building/m);
  await theirs.instantiate(middle);
  const lines = (text: string): string[] => text.trim().split('\n').sort();
  assert.deepEqual(
    lines(fetched.stdout.toString()),
    lines(await theirs.run('nix-store', ['--realise', several])),
  );
});
