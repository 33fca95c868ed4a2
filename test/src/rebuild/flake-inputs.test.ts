import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { flake, Workshop } from './flake-workshop.js';

/**
 * `start`, a repository with a flake in `sub/` that was locked by stock Nix, and inputs that have changed since: `words`, `tool`
 * and its `words`, `tool-kit`, which comes before what is inside `tool` where names are sorted as text.
 */
async function prepare(shop: Workshop): Promise<void> {
  for (const name of ['words', 'other-words'])
    await shop.write(name, { 'word.nix': `"${name}"\n` }, { git: true });
  const words = `words = { url = "git+file://${shop.path('words')}"; flake = false; };`;
  for (const name of ['tool', 'tool-kit', 'other-tool'])
    await shop.write(name, { 'flake.nix': flake(words, 'words,') }, { git: true });
  await shop.lockByNix('tool');
  await shop.commit('tool');
  const inputs = ['tool', 'tool-kit'].map((name) => `${name}.url = "git+file://${shop.path(name)}";`);
  inputs.push(words, 'same.follows = "words";');
  await shop.write('start/sub', { 'flake.nix': flake(inputs.join(' '), 'tool, words,') });
  await shop.write('start', { note: 'a flake is in sub' }, { git: true });
  await shop.nixFlake('lock', `git+file://${shop.path('start')}?dir=sub`);
  await shop.commit('start');
  await shop.write('words', { 'word.nix': '"newer"\n' });
  for (const name of ['tool', 'tool-kit']) await shop.write(name, { note: 'newer\n' });
  for (const name of ['words', 'tool', 'tool-kit']) await shop.commit(name);
}

test('what is done to the inputs of a flake, and to its lock file, is what Nix does', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using shop = await Workshop.open();
  await prepare(shop);
  const at = (name: string): string => `git+file://${shop.path(name)}?dir=sub`;
  const before = await shop.lock('start/sub');
  const message = (name: string): Promise<string> => shop.git(name, 'log', '-1', '--format=%B');
  /** The flake twice, as it was: for Larder, and for stock Nix. */
  const anew = async (): Promise<void> => {
    for (const name of ['ours', 'theirs']) {
      await rm(shop.path(name), { recursive: true, force: true });
      await cp(shop.path('start'), shop.path(name), { recursive: true });
    }
  };
  const expectAlike = async (): Promise<void> => {
    assert.equal(await shop.lock('ours/sub'), await shop.lock('theirs/sub'));
    assert.notEqual(await shop.lock('ours/sub'), before);
  };

  for (const words of [
    ['--update-input', 'tool/words'],
    ['--update-input', 'tool-kit', '--update-input', 'words'],
  ]) {
    await t.test(`${words.join(' ')}: the same bytes`, async () => {
      await anew();
      const { status, stderr } = await shop.rebuild(at('ours'), ...words);
      assert.equal(status, 0, stderr);
      assert.match(stderr, /^warning: updating lock file '.*\/ours\/sub\/flake\.lock':$/m);
      await shop.nixFlake('lock', at('theirs'), ...words);
      await expectAlike();
    });
  }

  const overrides: readonly (readonly [input: string, name: string])[][] = [
    [
      ['tool', 'other-tool'],
      ['same', 'other-tool'],
    ],
    [['tool/words', 'other-words']],
  ];
  for (const override of overrides) {
    await t.test(`${override.join(', ')}: from elsewhere, this time or for good`, async () => {
      await anew();
      const words = override.flatMap(([input, name]) => [
        '--override-input',
        input,
        `git+file://${shop.path(name)}`,
      ]);
      const here = await shop.rebuild(at('ours'), ...words);
      assert.equal(here.status, 0, here.stderr);
      assert.match(here.stderr, /^warning: not writing modified lock file of flake '.*':$/m);
      for (const [, name] of override)
        assert.match(here.stderr, new RegExp(`^  → 'git\\+file://${shop.path(name)}\\?ref=trunk&rev=`, 'm'));
      assert.equal(await shop.lock('ours/sub'), before);
      const written = await shop.instantiate(at('ours'), '--lock-flake', 'write', ...words);
      assert.equal(written.status, 0, written.stderr);
      await shop.nixFlake('lock', at('theirs'), ...words);
      await expectAlike();
    });
  }

  await t.test('a lock file is committed with the words of Nix, and nothing else is', async () => {
    await anew();
    await shop.write('ours', { note: 'changed\n' });
    await shop.git('ours', 'add', 'note');
    const { status, stderr } = await shop.rebuild(at('ours'), '--recreate-lock-file', '--commit-lock-file');
    assert.equal(status, 0, stderr);
    const rev = (await shop.git('ours', 'rev-parse', 'HEAD')).trim();
    assert.match(stderr, new RegExp(`^warning: committed new revision '${rev}'$`, 'm'));
    assert.equal(await shop.git('ours', 'status', '--porcelain'), 'M  note\n');
    await shop.nixFlake('update', at('theirs'), '--commit-lock-file');
    assert.equal(await message('ours'), await message('theirs'));
    await expectAlike();
  });

  await t.test('commit-lockfile-summary is the first line of it', async () => {
    await anew();
    const words = ['--update-input', 'tool', '--commit-lock-file'];
    words.push('--option', 'commit-lockfile-summary', 'chore: newer inputs');
    const { stderr } = await shop.rebuild(at('ours'), ...words);
    await shop.nixFlake('lock', at('theirs'), ...words);
    assert.match(await message('ours'), /^chore: newer inputs\n\nFlake/, stderr);
    assert.equal(await message('ours'), await message('theirs'));
  });

  await t.test('a first lock file is committed too', async () => {
    for (const name of ['start', 'ours', 'theirs']) await rm(`${shop.path(name)}/sub/flake.lock`);
    await shop.commit('start');
    await anew();
    assert.equal((await shop.rebuild(at('ours'), '--commit-lock-file')).status, 0);
    await shop.nixFlake('lock', at('theirs'), '--commit-lock-file');
    for (const format of ['%B', '%T'])
      assert.equal(
        await shop.git('ours', 'log', '-1', `--format=${format}`),
        await shop.git('theirs', 'log', '-1', `--format=${format}`),
      );
  });

  await t.test('what git refuses is told, and what is no input', async () => {
    await anew();
    await shop.git('ours', 'config', 'user.useConfigOnly', 'true');
    await shop.git('ours', 'config', '--unset', 'user.email');
    const refused = await shop.rebuild(at('ours'), '--commit-lock-file');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /git commit of the lock file in '.*\/ours' failed: .*email/s);
    for (const [words, said] of [
      [
        ['--update-input', 'wrods'],
        /'--update-input wrods' does not match any input: there are same, tool, /,
      ],
      [['--update-input', 'same'], /'--update-input same': that input follows another/],
      [
        ['--override-input', 'tool/wrods', 'path:/x'],
        /'--override-input tool\/wrods' does not match any input/,
      ],
      [['--update-input', 'a/../b'], /invalid flake input path element '\.\.'/],
      [['--override-input', 'words', '%'], /'%' is not a valid flake reference/],
      [['--override-input', 'words'], /--override-input words needs a value/],
    ] as const) {
      const { status, stderr } = await shop.rebuild(at('ours'), ...words);
      assert.notEqual(status, 0);
      assert.match(stderr, said);
    }
  });

  await t.test('where it cannot be committed, that is said', async () => {
    const { status, stderr } = await shop.rebuild(`path:${shop.path('start')}/sub`, '--commit-lock-file');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^warning: lock file '.*' is not committed: it is in no git repository$/m);
  });

  await t.test('options for lock files are refused where they would have no effect', async () => {
    const nix = await shop.rebuild(at('ours'), '--evaluator', 'nix', '--update-input', 'tool');
    assert.equal(nix.status, 2);
    assert.match(nix.stderr, /--update-input: 'nix-instantiate' locks no flake/);
    const file = await shop.larder.try(['rebuild', 'dry-build', '--file', 'x.nix', '--commit-lock-file']);
    assert.equal(file.status, 2);
    assert.match(file.stderr, /--commit-lock-file: that is for a flake, which --flake names/);
  });
});
