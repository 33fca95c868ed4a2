// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';

const executable = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `larder` in the place and with the environment of a stock Nix of its own. */
async function larder(nix: Nix, args: readonly string[], input = ''): Promise<Output> {
  const { status, stdout, stderr } = await tryProgram(process.execPath, [executable, ...args], {
    env: nix.environment,
    cwd: nix.scratch.path,
    input,
  });
  return { status: status ?? -1, stdout: stdout.toString(), stderr: stderr.toString() };
}

const base = 'system = "x86_64-linux"; builder = "/bin/sh";';

const derivations = `let
  lib = derivation { name = "lib"; ${base} outputs = [ "out" "dev" ]; flags = [ "a" 1 true null ]; };
  source = builtins.toFile "source.txt" "source of \${lib.name}";
  fetched = derivation { name = "fetched"; ${base} outputHashMode = "recursive"; outputHashAlgo = "sha256";
    outputHash = "0000000000000000000000000000000000000000000000000000"; url = "http://example.org"; };
  structured = derivation { name = "structured"; ${base} __structuredAttrs = true; nested = { a = [ 1 2 ]; }; inherit lib; };
  graph = derivation { name = "graph"; ${base} exportReferencesGraph = [ "g" lib ]; allowedReferences = [ "out" lib.dev ]; };
  deep = derivation { name = "deep"; ${base} drv = lib.drvPath; };
  latin = derivation { name = "latin"; ${base} text = builtins.readFile ./latin1.txt; quoted = "a\\"b\\\\c\\nd\\te"; };
  tree = derivation { name = "tree"; ${base} src = ./tree; filtered = builtins.filterSource (p: t: baseNameOf p != "skip") ./tree; };
  floating = derivation { name = "floating"; ${base} __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
    outputs = [ "out" "dev" ]; inherit lib; };
  resolved = derivation { name = "resolved"; ${base} inherit floating; dev = floating.dev; };
  flat = derivation { name = "flat"; ${base} __contentAddressed = true; outputHashMode = "flat"; outputHashAlgo = "sha1"; inherit resolved; };
in { inherit lib fetched structured graph deep latin tree floating resolved flat; app = derivation { name = "app"; ${base} inherit source lib; dev = lib.dev; }; }`;

test('derivations of every kind are written byte for byte as stock Nix writes them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { mkdir, rename } = await import('node:fs/promises');
  await mkdir(nix.scratch.join('tree'));
  await writeFile(nix.scratch.join('tree/keep'), 'kept');
  await writeFile(nix.scratch.join('tree/skip'), 'left out');
  await writeFile(nix.scratch.join('latin1.txt'), Buffer.from('caf\xe9', 'latin1'));
  await writeFile(nix.scratch.join('default.nix'), derivations);
  const ours = await larder(nix, ['instantiate']);
  assert.equal(ours.status, 0, ours.stderr);
  const written = await readStore(nix.realStoreDir);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  // The same store directory, empty again: its name is part of every hash.
  await rename(nix.realStoreDir, nix.scratch.join('ours'));
  await rename(nix.scratch.join('var'), nix.scratch.join('our-var'));
  const theirs = await nix.run('nix-instantiate', [nix.scratch.join('default.nix')]);
  assert.equal(ours.stdout.trimEnd(), theirs);
  assert.deepEqual(written, await readStore(nix.realStoreDir));
  assert.equal(written.size, 11);
});

async function readStore(directory: string): Promise<Map<string, string>> {
  const files = (await readdir(directory)).filter((name) => name.endsWith('.drv')).sort();
  const contents = new Map<string, string>();
  for (const file of files) contents.set(file, await readFile(`${directory}/${file}`, 'latin1'));
  return contents;
}

test('the command line is that of nix-instantiate', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await writeFile(nix.scratch.join('f.nix'), '{ a ? 1, b ? "x" }: { sum = [ a b ]; set.deep = a; }');
  const commands: readonly (readonly string[])[] = [
    ['--eval', '-E', '{ a = 1 + 1; b = x: x; }'],
    ['--eval', '--strict', '--json', '-E', '{ b = [ 1 null ]; a = "x"; }'],
    ['--eval', '--strict', '--xml', '--no-location', '-E', '{ b = [ 1 null ]; a = "x"; }'],
    ['--eval', '--strict', './f.nix', '-A', 'sum', '--arg', 'a', '1 + 2', '--argstr', 'b', 'y'],
    ['--eval', './f.nix', '-A', 'set.deep'],
    ['--parse', '-E', 'x: x.y or 1'],
    ['--find-file', '-I', 'here=.', 'here/f.nix'],
    ['--eval', '-E', '<here/f.nix>', '-I', 'here=.'],
    ['--eval', '--strict', '-E', 'map (x: x.prefix) builtins.nixPath', '-I', 'one=.', '-I', 'two=/'],
  ];
  for (const args of commands) {
    const ours = await larder(nix, ['instantiate', ...args]);
    const theirs = await nix.run('nix-instantiate', args, { cwd: nix.scratch.path });
    assert.equal(ours.stdout.trimEnd(), theirs, `${args.join(' ')}\n${ours.stderr}`);
  }
});

test('a failure goes to standard error with status 1, and nothing of the machinery shows', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const failed = await larder(nix, ['instantiate', '--eval', '-E', 'let f = x: f (x + 1); in f 0']);
  assert.equal(failed.status, 1);
  assert.equal(failed.stdout, '');
  assert.match(failed.stderr, /error: stack overflow; max-call-depth exceeded/);
  assert.doesNotMatch(failed.stderr, /\.js:|RangeError/);
  const deep = 'let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 100000';
  const raised = await larder(nix, [
    'instantiate',
    '--eval',
    '--option',
    'max-call-depth',
    '1000000',
    '-E',
    deep,
  ]);
  assert.equal(raised.stdout, '100000\n');
  const misused = await larder(nix, ['instantiate', '--no-such-option']);
  assert.equal(misused.status, 2);
});

test('a second run gives the same without evaluating, until something it read changes', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await writeFile(nix.scratch.join('value.nix'), '1');
  const expression = `derivation { name = "n\${toString (import ./value.nix)}"; ${base} }`;
  const run = async (): Promise<string> => (await larder(nix, ['instantiate', '-E', expression])).stdout;
  const first = await run();
  assert.match(first, /-n1\.drv\n$/);
  assert.equal(await run(), first);
  await writeFile(nix.scratch.join('value.nix'), '22');
  assert.match(await run(), /-n22\.drv\n$/);
  await nix.run('nix-store', ['--delete', first.trim()]);
  await writeFile(nix.scratch.join('value.nix'), '1');
  assert.equal(await run(), first);
  await nix.run('nix-store', ['--check-validity', first.trim()]);
});

test('larder eval prints for people, and larder repl converses', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  assert.equal(
    (await larder(nix, ['eval', '--expr', '{ a = 1; b = [ "x" ]; }'])).stdout,
    '{\n  a = 1;\n  b = [ "x" ];\n}\n',
  );
  assert.equal((await larder(nix, ['eval', '--expr', '"plain"', '--raw'])).stdout, 'plain');
  assert.equal((await larder(nix, ['eval', '--expr', '{ a = 1; }', '--json'])).stdout, '{"a":1}\n');
  const lines = 'x = 20\nlet y = x + 1;\nin y * 2\n:t x\nnothing\n:q\n';
  const talk = await larder(nix, ['repl'], lines);
  assert.match(talk.stdout, /^42\nan integer\nerror: undefined variable 'nothing'/);
});
