import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { flake, Workshop } from './flake-workshop.js';

test('a flake gets the lock file that Nix gives it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using shop = await Workshop.open();
  await shop.write('words', { 'word.nix': '"one"\n' }, { git: true });
  await shop.write('other-words', { 'word.nix': '"two"\n' }, { git: true });
  const words = `words = { url = "git+file://${shop.path('words')}"; flake = false; };`;
  await shop.write('library', { 'flake.nix': flake(words, 'words,') });
  await shop.write('tool', {
    'flake.nix': flake(`library.url = "path:${shop.path('library')}"; ${words}`, 'library, words,'),
  });
  // Brings its own lock file along.
  await shop.lockByNix('tool');
  const inputs = [
    words,
    `tool.url = "path:${shop.path('tool')}";`,
    `library = { url = "path:${shop.path('library')}"; inputs.words.follows = "words"; };`,
    `alike.url = "git+file://${shop.path('words')}?ref=trunk"; alike.flake = false;`,
  ];
  const named = 'alike, library, tool, words,';
  await shop.write('ours', { 'flake.nix': flake(inputs.join(' '), named) });

  await t.test('nothing is written where that is not wanted', async () => {
    const kept = await shop.rebuild(`path:${shop.path('ours')}`, '--no-write-lock-file');
    assert.equal(kept.status, 0, kept.stderr);
    assert.match(kept.stderr, /^warning: not writing modified lock file of flake 'path:.*':$/m);
    assert.match(kept.stderr, /^• Added input 'tool\/library\/words':$/m);
    const refused = await shop.rebuild(`path:${shop.path('ours')}`, '--no-update-lock-file');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /requires lock file changes .*'--no-update-lock-file'/);
    assert.ok(!existsSync(`${shop.path('ours')}/flake.lock`));
  });

  await t.test(
    'its bytes are those of nix flake lock: paths, repositories, follows, locks of inputs',
    async () => {
      await cp(shop.path('ours'), shop.path('theirs'), { recursive: true });
      const { status, stderr } = await shop.rebuild(`path:${shop.path('ours')}`);
      assert.equal(status, 0, stderr);
      assert.match(stderr, /^warning: creating lock file '.*\/ours\/flake\.lock'/m);
      assert.equal(await shop.lock('ours'), await shop.lockByNix('theirs'));
      const again = await shop.rebuild(`path:${shop.path('ours')}`);
      assert.doesNotMatch(again.stderr, /lock file/);
    },
  );

  await t.test('an input that changes in flake.nix, and one that goes, change there alone', async () => {
    const changed = [inputs[0]!.replace('/words"', '/other-words"'), ...inputs.slice(1, 3)].join(' ');
    for (const name of ['ours', 'theirs'])
      await shop.write(name, { 'flake.nix': flake(changed, named.replace('alike,', '')) });
    const { status, stderr } = await shop.rebuild(`path:${shop.path('ours')}`);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^warning: updating lock file '.*':$/m);
    assert.match(stderr, /^• Removed input 'alike'$/m);
    assert.match(stderr, /^• Updated input 'words':$/m);
    assert.equal(await shop.lock('ours'), await shop.lockByNix('theirs'));
  });

  await t.test('a locked path that has changed since is taken from the store', async () => {
    await shop.write('library', { 'note.txt': 'newer\n' });
    const { status, stderr } = await shop.rebuild(`path:${shop.path('ours')}`);
    assert.equal(status, 0, stderr);
  });

  await t.test('in a repository git is told of it, and that the tree is dirty is said', async () => {
    await shop.write('machine', { 'flake.nix': flake(words, 'words,') }, { git: true });
    const { status, stderr } = await shop.rebuild(shop.path('machine'));
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^warning: Git tree '.*\/machine' is dirty$/m);
    assert.match(await shop.git('machine', 'status', '--porcelain'), /^ A flake\.lock$/m);
    const lock = JSON.parse(await shop.lock('machine')) as { nodes: { words: { locked: { ref: string } } } };
    assert.equal(lock.nodes.words.locked.ref, 'trunk');
  });

  await t.test('a revision of a repository cannot be locked, and an input with changes is not', async () => {
    await rm(`${shop.path('machine')}/flake.lock`);
    const rev = (await shop.git('machine', 'rev-parse', 'HEAD')).trim();
    const fixed = await shop.rebuild(`git+file://${shop.path('machine')}?rev=${rev}`);
    assert.equal(fixed.status, 1);
    assert.match(fixed.stderr, /cannot write modified lock file .*--no-write-lock-file/);
    await writeFile(`${shop.path('words')}/word.nix`, '"changed"\n');
    await rm(`${shop.path('ours')}/flake.lock`);
    await shop.write('ours', { 'flake.nix': flake(words, 'words,') });
    const dirty = await shop.rebuild(`path:${shop.path('ours')}`);
    assert.equal(dirty.status, 0, dirty.stderr);
    assert.match(
      dirty.stderr,
      /^warning: will not write lock file .* unlocked input \('git\+file:.*\/words'\)$/m,
    );
    assert.ok(!existsSync(`${shop.path('ours')}/flake.lock`));
  });
});
