import assert from 'node:assert/strict';
import { lutimes, mkdir, readdir, symlink } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import { larderAt, storeUri } from '../publish/publishing.js';

/** A profile with six generations, made so many days ago; the fifth is current. */
async function makeProfile(store: Nix, path: string): Promise<string> {
  const directory = `${store.root}/nix/var/nix/profiles/per-user/somebody`;
  await mkdir(directory, { recursive: true });
  for (const [index, days] of [90, 40, 20, 10, 5, 1].entries()) {
    const link = `${directory}/profile-${index + 1}-link`;
    await symlink(path, link);
    const when = Date.now() / 1000 - days * 24 * 3600;
    await lutimes(link, when, when);
  }
  await symlink('profile-5-link', `${directory}/profile`);
  return directory;
}

for (const age of ['30d', '7d', '1000d', 'old'] as const) {
  test(`gc removes the generations that nix-collect-garbage removes: ${age}`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using store = await Nix.create();
    const [path = ''] = await store.add(store.scratch.join('conf'));
    const directory = await makeProfile(store, path);
    const option = age === 'old' ? ['--delete-old'] : ['--delete-older-than', age];
    const theirs = await tryProgram('nix-collect-garbage', [...option, '--dry-run'], {
      env: { ...store.environment, NIX_STATE_DIR: `${store.root}/nix/var/nix` },
    });
    const planned = await larderAt(store, ['gc', '--dry-run', ...option, '--store', storeUri(store)]);
    assert.equal((await readdir(directory)).length, 7);
    const done = await larderAt(store, ['gc', ...option, '--store', storeUri(store)]);
    assert.equal(done.status, 0, done.stderr);
    // By the rules of nix-collect-garbage(1): the current one stays, and the one that was current then.
    const kept = { '30d': [2, 3, 4, 5, 6], '7d': [4, 5, 6], '1000d': [1, 2, 3, 4, 5, 6], old: [5] }[age];
    const links = (await readdir(directory)).filter((name) => name !== 'profile').sort();
    assert.deepEqual(
      links,
      kept.map((number) => `profile-${number}-link`),
    );
    const versions = (text: string) => text.match(/(?<=version )\d+/g) ?? [];
    assert.equal(versions(theirs.stderr).length, 6 - kept.length, theirs.stderr);
    const removed = (text: string) => (text.match(/generation \d/g) ?? []).length;
    assert.equal(removed(planned.stderr), 6 - kept.length);
    assert.equal(removed(done.stderr), 6 - kept.length);
  });
}
