import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';

/** A closure in a store of stock Nix, and caches made of it by stock Nix, each signed by a key of its own. */
async function makeCaches(nix: Nix, larder: Larder) {
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'policy', paths: 5, bytes: 20_000 });
  const paths = await importClosure(nix, objects);
  const keys: Record<string, string> = {};
  for (const name of ['alice', 'bob']) {
    const secret = larder.scratch.join(`${name}.secret`);
    keys[name] = await larder.run(['key', 'generate', '--name', `${name}-1`, '--out', secret]);
    const cache = `file://${larder.scratch.join(name)}?secret-key=${secret}&compression=none`;
    await nix.run('nix', [
      '--extra-experimental-features',
      'nix-command',
      'copy',
      '--to',
      cache,
      paths.at(-1)!,
    ]);
  }
  return {
    keys,
    paths,
    top: paths.at(-1)!,
    cacheOf: (name: string) => `file://${larder.scratch.join(name)}`,
  };
}

describe('trust policies', () => {
  test('two owners must agree, across caches of stock Nix; what is not signed by both is refused', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const { keys, top, cacheOf } = await makeCaches(nix, larder);
    const policy = larder.scratch.join('trust.toml');
    const entries = Object.values(keys).map((key) => `[[keys]]\nkey = "${key}"\n`);
    await writeFile(policy, `signatures = 2\n${entries.join('')}`);
    const [alice, bob] = [cacheOf('alice'), cacheOf('bob')];
    const copy = async (to: string, ...from: string[]) =>
      larder.try([
        'copy',
        ...from.flatMap((cache) => ['--from', cache]),
        ...['--to', `local?root=${larder.scratch.join(to)}`, '--policy', policy, top],
      ]);
    const alone = await copy('alone', alice);
    assert.equal(alone.status, 1);
    assert.match(alone.stderr, /2 signatures are asked for and only alice-1 signed.*larder trust show/);
    const both = await copy('both', alice, bob);
    assert.equal(both.status, 0, both.stderr);
    const store = ['--store', `local?root=${larder.scratch.join('both')}`];
    // Both signatures came along, so the store can be held to the policy from now on.
    await larder.run(['verify', '--all', ...store, '--policy', policy]);
    await writeFile(policy, `signatures = 1\nrevoked = ["alice-1"]\n${entries[0]}`);
    const impossible = await larder.try(['verify', '--all', ...store, '--policy', policy]);
    assert.match(impossible.stderr, /nothing could ever be trusted/);
    await writeFile(policy, `revoked = ["alice-1"]\n${entries.join('')}`);
    await larder.run(['verify', '--all', ...store, '--policy', policy]);
    const revoked = await copy('revoked', alice);
    assert.match(revoked.stderr, /alice-1 is revoked/);
    assert.match(await larder.run(['trust', 'show', '--policy', policy]), /alice-1: revoked\n {2}bob-1\n/);
    // The user's own policy holds without being named.
    const named = { env: { ...larder.env, LARDER_TRUST_POLICY: policy } };
    const configured = await larder.try(
      ['copy', '--from', alice, '--to', `local?root=${larder.scratch.join('own')}`, top],
      named,
    );
    assert.match(configured.stderr, /alice-1 is revoked/);
  });

  test('verify --against tells reproducible, differing and unknown paths apart', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const { paths, top, cacheOf } = await makeCaches(nix, larder);
    const store = ['--store', `local?root=${nix.root}`];
    const against = ['--against', cacheOf('alice'), '--against', cacheOf('bob')];
    assert.match(
      await larder.run(['verify', '-r', ...store, ...against, top]),
      new RegExp(`^${paths.length} reproducible, 0 differing, 0 unknown of ${paths.length} paths$`),
    );
    const other = larder.scratch.join('carol');
    await cp(larder.scratch.join('bob'), other, { recursive: true });
    const [first, second] = (await readdir(other)).filter((file) => file.endsWith('.narinfo'));
    const text = await readFile(`${other}/${first}`, 'utf8');
    await writeFile(`${other}/${first}`, text.replace(/^NarHash: .*$/m, `NarHash: sha256:${'0'.repeat(52)}`));
    await rm(`${other}/${second}`);
    const differing = await larder.try([
      'verify',
      '-r',
      ...store,
      '--json',
      '--against',
      `file://${other}`,
      top,
    ]);
    assert.equal(differing.status, 1);
    const verdicts = new Map(
      differing.stdout
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { path: string; verdict: string })
        .map(({ path, verdict }) => [path.slice(0, 32), verdict]),
    );
    assert.equal(verdicts.get(first!.slice(0, 32)), 'differing');
    assert.equal(verdicts.get(second!.slice(0, 32)), 'unknown');
    assert.equal(
      [...verdicts.values()].filter((verdict) => verdict === 'reproducible').length,
      paths.length - 2,
    );
  });
});
