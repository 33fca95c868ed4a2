import { strict as assert } from 'node:assert';
import { symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larderExecutable } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import { assertSame, expressions, ours, runOurs } from './tools.js';

interface Sample {
  readonly file: string;
  readonly drv: string;
  readonly out: string;
}

/** Builds a few derivations in a store of stock Nix. */
async function buildSample(nix: Nix): Promise<Sample> {
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  const drv = await nix.run('nix-instantiate', [file, '-A', 'top']);
  const out = await nix.run('nix-build', [file, '-A', 'top', '-o', nix.scratch.join('result')]);
  return { file, drv, out };
}

test('queries print what nix-store prints', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { file, drv } = await buildSample(nix);
  const result = nix.scratch.join('result');
  for (const args of [
    ['-q', drv],
    ['-q', '--outputs', drv, drv],
    ['-qR', result],
    ['-qR', drv],
    ['-quR', drv],
    ['-q', '--requisites', '--include-outputs', drv],
    ['-q', '--references', result, drv],
    ['--query', '--referrers', drv],
    ['-q', '--referrers-closure', drv],
    ['-qd', result],
    ['-q', '--deriver', drv],
    ['-q', '--hash', result, drv],
    ['-q', '--size', '--use-output', drv],
    ['-q', '--tree', drv],
    ['-q', '--tree', result],
    ['-q', '--graph', drv],
    ['-q', '--graphml', drv],
    ['-q', '--roots', result],
    ['-q', '--resolve', result],
    ['-q', '--binding', 'name', result],
    ['-qb', 'quoted', await nix.run('nix-instantiate', [file, '-A', 'leaf'])],
    ['--print-env', await nix.run('nix-instantiate', [file, '-A', 'leaf'])],
    ['-l', await nix.run('nix-build', [file, '-A', 'leaf', '--no-out-link'])],
    ['--dump-db'],
    ['--dump-db', result],
    ['--verify-path', result],
    ['--check-validity', result],
    ['--check-validity', '--print-invalid', `${nix.storeDir.path}/${'a'.repeat(32)}-none`, result],
    ['--gc', '--print-live'],
    ['--gc', '--print-roots'],
    ['--dump', file],
    ['--print-fixed-path', 'sha256', '1ixr6yd3297ciyp9im522dfxpqbkhcw0pylkb2aab915278fqaik', 'name'],
    ['--print-fixed-path', '--recursive', 'sha1', '0'.repeat(40), 'name'],
    ['-r', result, `${drv}!out`],
  ])
    await assertSame(nix, 'nix-store', args);
});

test('errors, statuses and remarks are those of nix-store', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { out } = await buildSample(nix);
  const absent = `${nix.storeDir.path}/${'a'.repeat(32)}-none`;
  for (const args of [
    [],
    ['-q', '--frobnicate'],
    ['-q', '--hash', '--size', out],
    ['--gc', '--frobnicate'],
    ['-q', '--gc'],
    ['-q', '--references', absent],
    ['-q', '--requisites', absent],
    ['-q', '--hash', '/no-such-file'],
    ['-q', '--binding', 'frobnicate', out],
    ['--check-validity', absent],
    ['--option', 'frobnicate', '1', '-q'],
    ['-q', '--cores'],
    ['--verify', 'argument'],
    ['--delete', out],
    ['--add-fixed'],
    ['--verify'],
    ['--gc', '--max-freed', '10X'],
  ]) {
    const expected = await nix.try('nix-store', args);
    const got = await assertSame(nix, 'nix-store', args);
    // Stock Nix calls itself by the path it was started with.
    assert.equal(
      got.stderr,
      expected.stderr.replace(/'\S*\/nix-store --help'/, "'nix-store --help'"),
      args.join(' '),
    );
  }
});

test('a link with the name of a tool is that tool, and options stand anywhere, together', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { out } = await buildSample(nix);
  const link = nix.scratch.join('nix-store');
  await symlink(larderExecutable, link);
  const env = { ...nix.environment, PATH: process.env.PATH ?? '' };
  const linked = await tryProgram(link, [out, '-Rqv', '--option', 'cores', '1'], { env });
  assert.equal(linked.stderr, '');
  assert.equal(linked.stdout.toString(), `${await nix.run('nix-store', ['-qR', out])}\n`);
  assert.match(await ours(nix, 'nix-store', ['--version']), /^nix-store \(Nix\) \d+\.\d+/);
  assert.match(await ours(nix, 'nix-hash', ['--help']), /^Usage: nix-hash/);
});

test('what Larder has not is refused by name', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { status, stderr } = await runOurs(nix, 'nix-build', ['--eval-store', 'auto']);
  assert.equal(status, 1);
  assert.match(stderr, /^error: 'nix-build --eval-store' is not in Larder's part of Nix/);
});
