import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Larder, larderExecutable } from '../larder/larder.js';

for (const [what, args, message] of [
  ['no verb', [], /Usage: larder VERB/],
  ['an unknown verb', ['frobnicate'], /no verb 'frobnicate'/],
  ['an unknown option', ['copy', '--frobnicate'], /frobnicate/],
  ['an argument too few', ['push'], /cache/],
  ['an unknown choice', ['hash', 'file', '--algorithm', 'crc32', '/dev/null'], /crc32/],
  ['something that is no store', ['path-info', '--store', 'gopher://x', 'x'], /gopher/],
] as const) {
  test(`${what} is a matter of usage: exit code 2, and a line that says what is wrong`, async () => {
    await using larder = await Larder.create();
    const { status, stdout, stderr } = await larder.try(args);
    assert.match(stderr, message);
    assert.equal(stdout.length, 0);
    assert.equal(status, 2, stderr);
  });
}

for (const [what, args, message] of [
  ['a file that is not there', ['hash', 'file', '/no/such/file'], /\/no\/such\/file/],
  ['a file that is no archive', ['nar', 'ls', '/etc/passwd'], /not a valid NAR/],
  [
    'a server that is not there',
    [
      'path-info',
      '--store',
      'http://127.0.0.1:1/main',
      '--option',
      'download-attempts=1',
      `${'0'.repeat(32)}-x`,
    ],
    /127\.0\.0\.1:1/,
  ],
] as const) {
  test(`${what} is a failure: exit code 1, and a line without a stack that names it`, async () => {
    await using larder = await Larder.create();
    const { status, stdout, stderr } = await larder.try(args);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^\s+at /m);
    assert.equal(stdout.length, 0);
    assert.equal(status, 1, stderr);
  });
}

test('larder --version is quick', async (t) => {
  await using larder = await Larder.create();
  const manifest = new URL('../../../deploy/package.json', import.meta.url);
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  const times: number[] = [];
  for (let run = 0; run < 5; run += 1) {
    const started = performance.now();
    assert.equal(await larder.run(['--version']), `larder ${version}`);
    times.push(performance.now() - started);
  }
  // A busy machine is no failure: the time is recorded, not asserted.
  t.diagnostic(`${Math.min(...times).toFixed(0)} ms at best of ${times.length}`);
});

test('a reader that closes the pipe is no failure', () => {
  const { status, stdout } = spawnSync('sh', [
    '-c',
    `"${process.execPath}" "${larderExecutable}" --help | head -n 1`,
  ]);
  assert.equal(status, 0);
  assert.match(stdout.toString(), /^Usage/);
});

test('archives are dumped, looked into and restored by the verbs of nar', async () => {
  await using larder = await Larder.create();
  const place = (name: string): string => larder.scratch.join(name);
  await mkdir(place('tree/sub'), { recursive: true });
  await writeFile(place('tree/sub/file'), 'contents\n');
  await writeFile(place('tree/run'), '#!/bin/sh\n', { mode: 0o755 });
  const hash = await larder.run(['hash', 'path', place('tree')]);
  const { stdout: archive } = await larder.try(['nar', 'dump', place('tree')]);
  await writeFile(place('tree.nar'), archive);
  assert.equal(await larder.run(['nar', 'cat', place('tree.nar'), '/sub/file']), 'contents');
  assert.match(await larder.run(['nar', 'ls', '--recursive', place('tree.nar')]), /sub\/file/);
  await larder.run(['nar', 'restore', place('copy')], { input: archive });
  assert.equal(await larder.run(['hash', 'path', place('copy')]), hash);
});

test('a key is made with a private mode, and never over one that is there', async () => {
  await using larder = await Larder.create();
  const file = larder.scratch.join('key');
  const key = await larder.run(['key', 'generate', '--name', 'k-1', '--out', file]);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal(await larder.run(['key', 'public', file]), key);
  const refused = await larder.try(['key', 'generate', '--name', 'k-2', '--out', file]);
  assert.equal(refused.status, 1);
  assert.equal(await larder.run(['key', 'public', file]), key);
});
