import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { RunningProxy } from '../larder/proxy.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';

const nixCommand = ['--extra-experimental-features', 'nix-command'];

/** Two caches made by stock Nix, in different compressions and signed by one key each; the second lacks the top. */
async function makeCaches(nix: Nix, larder: Larder) {
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'proxy', paths: 8, bytes: 900_000 });
  const paths = await importClosure(nix, objects);
  const [below, top] = [paths.at(-2)!, paths.at(-1)!];
  const keys: string[] = [];
  for (const [name, compression, path] of [
    ['one', 'xz', top],
    ['two', 'zstd', below],
  ] as const) {
    const secret = larder.scratch.join(`${name}.secret`);
    keys.push(await larder.run(['key', 'generate', '--name', `${name}-1`, '--out', secret]));
    const cache = `file://${larder.scratch.join(name)}?secret-key=${secret}&compression=${compression}`;
    await nix.run('nix', [...nixCommand, 'copy', '--to', cache, path]);
  }
  return {
    keys,
    paths,
    top,
    one: `file://${larder.scratch.join('one')}`,
    two: `file://${larder.scratch.join('two')}`,
  };
}

describe('larder proxy', () => {
  test('stock Nix fetches through it; what it kept is served with the caches gone', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const { keys, paths, top, one, two } = await makeCaches(nix, larder);
    const trusted = keys.flatMap((key) => ['--trusted-public-keys', key]);
    await using proxy = await RunningProxy.start(larder, ['--from', two, '--from', one, ...trusted]);
    const fetchInto = async (keysOfNix: string) => {
      await using other = await Nix.create({
        settings: { substituters: proxy.url, 'trusted-public-keys': keysOfNix },
      });
      await other.run('nix-store', ['--realise', top]);
      await other.run('nix-store', ['--verify', '--check-contents']);
      assert.equal((await other.run('nix-store', ['-qR', top])).split('\n').length, paths.length);
    };
    await fetchInto(keys.join(' '));
    const first = await proxy.status();
    assert.equal(first.kept.archives, paths.length);
    assert.equal(first.bytes.fromCaches, first.kept.bytes);
    await fetchInto(keys.join(' '));
    const second = await proxy.status();
    assert.equal(second.bytes.fromCaches, first.bytes.fromCaches);
    assert.equal(second.bytes.fromShelf, first.kept.bytes);
    const [kept] = await readdir(larder.scratch.join('shelf'));
    const part = await fetch(`${proxy.url}/nar/${kept}`, { headers: { Range: 'bytes=5-9' } });
    assert.equal(part.status, 206);
    const whole = await readFile(`${larder.scratch.join('shelf')}/${kept}`);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), whole.subarray(5, 10));
    assert.equal((await fetch(`${proxy.url}/nar/..%2f..%2fone.secret`)).status, 404);
    assert.equal((await fetch(`${proxy.url}/${'0'.repeat(32)}.narinfo`)).status, 404);
  });

  test('stock Nix that has an older version fetches through it by deltas', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using server = await LarderServer.start(larder);
    const import_ = async (rebuild: string) => {
      const directory = nix.scratch.join(`trees${rebuild}`);
      const closure = { seed: 'proxied', paths: 6, bytes: 600_000, rebuild };
      return (await importClosure(nix, await makeClosure(directory, closure))).at(-1)!;
    };
    const [old, fresh] = [await import_(''), await import_('again')];
    const store = ['--store', `local?root=${nix.root}`, '--token-file', server.tokenFile];
    await larder.run(['push', server.cache, ...store, old]);
    // Made ahead: those that the server makes only when asked come only if they are there sooner than the archives.
    await larder.run(['push', server.cache, ...store, fresh, '--delta-from', old]);
    const [key = ''] = await server.publicKeys();
    await using other = await Nix.create({ settings: { 'trusted-public-keys': key } });
    const base = ['--store', `local?root=${other.root}`];
    await other.run('nix', [...nixCommand, 'copy', '--from', server.cache, old]);
    await using proxy = await RunningProxy.start(larder, [
      ...['--from', server.cache, '--trusted-public-keys', key],
      ...base,
    ]);
    await other.run('nix', [...nixCommand, 'copy', '--from', proxy.url, fresh]);
    await other.run('nix-store', ['--verify', '--check-contents']);
    const { bytes, kept } = await proxy.status();
    assert.equal(bytes.deltas, 6, proxy.notes.join('\n'));
    assert.ok(bytes.fromCaches! < kept.bytes / 20, `${bytes.fromCaches} of ${kept.bytes}`);
  });

  test('what no key or policy accepts is not served; what is, can be signed by the proxy', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const { keys, top, one, two } = await makeCaches(nix, larder);
    const secret = larder.scratch.join('proxy.secret');
    const own = await larder.run(['key', 'generate', '--name', 'proxy-1', '--out', secret]);
    const narInfoOf = async (proxy: RunningProxy) =>
      fetch(`${proxy.url}/${top.slice('/nix/store/'.length).slice(0, 32)}.narinfo`);
    {
      await using strict = await RunningProxy.start(larder, [
        '--from',
        one,
        '--trusted-public-keys',
        keys[1]!,
      ]);
      assert.equal((await narInfoOf(strict)).status, 404);
      assert.match(strict.notes.join('\n'), /is refused: it is signed by one-1, which is not trusted/);
    }
    const trusted = keys.flatMap((key) => ['--trusted-public-keys', key]);
    await using proxy = await RunningProxy.start(larder, [
      ...trusted,
      '--from',
      one,
      '--from',
      two,
      '--key-file',
      secret,
    ]);
    await using other = await Nix.create({
      settings: { substituters: proxy.url, 'trusted-public-keys': own },
    });
    await other.run('nix-store', ['--realise', top]);
  });

  test('a damaged archive never arrives whole, and another cache stands in', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const { keys, paths, one, two } = await makeCaches(nix, larder);
    const path = paths.at(-2)!;
    const hash = path.slice('/nix/store/'.length).slice(0, 32);
    const damage = async (cache: string) => {
      const narInfo = await readFile(`${larder.scratch.join(cache)}/${hash}.narinfo`, 'utf8');
      const file = `${larder.scratch.join(cache)}/${/^URL: (.*)$/m.exec(narInfo)![1]}`;
      const bytes = await readFile(file);
      bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 8);
      await writeFile(file, bytes);
    };
    const trusted = keys.flatMap((key) => ['--trusted-public-keys', key]);
    await using proxy = await RunningProxy.start(larder, [...trusted, '--from', two, '--from', one]);
    await damage('two');
    await using other = await Nix.create({
      settings: { substituters: proxy.url, 'trusted-public-keys': keys.join(' '), fallback: 'false' },
    });
    // Nix may meet the bad copy once, as a broken transfer; asked again, the proxy has it from elsewhere.
    const attempts = [
      await other.try('nix-store', ['--realise', path]),
      await other.try('nix-store', ['--realise', path]),
    ];
    assert.ok(
      attempts.some(({ status }) => status === 0),
      attempts.map(({ stderr }) => stderr).join('\n'),
    );
    await other.run('nix-store', ['--verify', '--check-contents']);
    await rm(larder.scratch.join('shelf'), { recursive: true });
  });
});
