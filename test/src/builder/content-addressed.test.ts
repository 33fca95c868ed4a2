import assert from 'node:assert/strict';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { needsComponent } from '../engines/components.js';
import type { Nix } from '../oracle/nix.js';
import { createStore, larderAt, storeUri } from '../publish/publishing.js';
import { contentAddressed as derivations } from './content-addressed.js';
import { buildWithLarder } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' };

/** What a store knows of outputs, without ids of its own. */
function realisations(store: Nix): unknown[] {
  const db = new Database(`${store.root}/nix/var/nix/db/db.sqlite`, { readonly: true });
  try {
    return db
      .prepare(
        `select r.drvPath, r.outputName, v.path, (
           select group_concat(d.drvPath || d.outputName) from
             (select o.drvPath, o.outputName from RealisationsRefs f join Realisations o on o.id = f.realisationReference
              where f.referrer = r.id order by 1, 2) d) as depends
         from Realisations r join ValidPaths v on v.id = r.outputPath order by 1, 2`,
      )
      .all();
  } finally {
    db.close();
  }
}

async function describePaths(store: Nix): Promise<unknown[]> {
  const infos = await store.pathInfo('--all');
  return infos
    .map(({ path, narHash, narSize, references, deriver, ca }) => ({
      ...{ path, narHash, narSize, deriver, ca },
      references: [...references].sort(),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

test('content-addressed derivations come out as with stock Nix: paths, contents, realisations', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using nix = await createStore();
  await using ours = await createStore();
  const [derivation = ''] = await nix.instantiate(derivations('one way'));
  await ours.instantiate(derivations('one way'));
  const expected = await nix.run('nix-store', ['--realise', derivation]);
  const built = await buildWithLarder(ours, [derivation], settings);
  assert.equal(built.status, 0, built.stderr);
  assert.equal(built.stdout.toString().trim(), expected);
  assert.deepEqual(await describePaths(ours), await describePaths(nix));
  assert.deepEqual(realisations(ours), realisations(nix));

  // Made in another way the leaf is the same, so nothing above it is built again.
  const [other = ''] = await ours.instantiate(derivations('another way'));
  await nix.instantiate(derivations('another way'));
  assert.notEqual(other, derivation);
  const again = await buildWithLarder(ours, [other], settings);
  assert.equal(again.status, 0, again.stderr);
  const lines = again.stderr.match(/^building '.*/gm) ?? [];
  assert.equal(lines.length, 1, again.stderr);
  assert.match(lines[0]!, /-leaf\.drv/);
  assert.equal(again.stdout.toString().trim(), await nix.run('nix-store', ['--realise', other]));
  assert.deepEqual(realisations(ours), realisations(nix));
  const checked = await ours.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(checked.status, 0, checked.stderr);

  const refused = await buildWithLarder(ours, [derivation], { ...settings, 'experimental-features': '' });
  assert.doesNotMatch(refused.stderr, /^building/m);
});

test('content-addressed outputs go by a cache to stock Nix, which builds nothing, and come from it', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using ours = await createStore();
  await using theirs = await createStore();
  const key = ours.scratch.join('key');
  await ours.run('nix-store', ['--generate-binary-cache-key', 'builder-1', key, `${key}.pub`]);
  const [derivation = ''] = await ours.instantiate(derivations('a way'));
  await theirs.instantiate(derivations('a way'));
  const built = await buildWithLarder(ours, [derivation], { ...settings, 'secret-key-files': key });
  assert.equal(built.status, 0, built.stderr);
  const cache = `file://${ours.scratch.join('binary-cache')}`;
  const pushed = await larderAt(ours, [
    'push',
    cache,
    '--store',
    storeUri(ours),
    built.stdout.toString().trim(),
  ]);
  assert.equal(pushed.status, 0, pushed.stderr);
  const { readFile } = await import('node:fs/promises');
  const trust = { substituters: cache, 'trusted-public-keys': (await readFile(`${key}.pub`, 'utf8')).trim() };
  const options = Object.entries(trust).flatMap(([name, value]) => ['--option', name, value]);
  const fetched = await theirs.try('nix-store', ['--realise', derivation, ...options]);
  assert.equal(fetched.status, 0, fetched.stderr);
  assert.doesNotMatch(fetched.stderr, /^building/m);

  // An output that only a realisation can tell of, by itself.
  await using fresh = await createStore();
  const leaf = derivations('a way').replace(/in sh .*$/, 'in several');
  const [several = ''] = await fresh.instantiate(leaf);
  const untrusted = await buildWithLarder(fresh, ['--dry-run', several], {
    ...settings,
    substituters: cache,
  });
  assert.match(untrusted.stderr + untrusted.stdout.toString(), /that no trusted key signed: it is not used/);
  assert.match(untrusted.stdout.toString(), /will be built/);
  const substituted = await buildWithLarder(fresh, [several], { ...settings, ...trust });
  assert.equal(substituted.status, 0, substituted.stderr);
  assert.doesNotMatch(substituted.stderr, /^building/m);
  assert.equal(
    substituted.stdout.toString(),
    (await buildWithLarder(ours, [several], settings)).stdout.toString(),
  );
});
