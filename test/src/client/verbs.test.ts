import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';

describe('the verbs of the client', () => {
  test('copy takes full paths, base names, hash parts and links; events are JSON; usage is exit 2', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'verbs', paths: 4 });
    const [first = '', , , last = ''] = await importClosure(nix, objects);
    const base = last.slice('/nix/store/'.length);
    const link = larder.scratch.join('result');
    await symlink(last, link);
    const from = ['--from', `local?root=${nix.root}`, '--no-require-sigs'];
    for (const [index, name] of [last, `${last}/file`, base, base.slice(0, 32), link].entries()) {
      const to = ['--to', `local?root=${larder.scratch.join(`store-${index}`)}`];
      const events = (await larder.run(['copy', '--json', ...from, ...to, name]))
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.equal(events[0].type, 'planned');
      assert.equal(events.filter(({ type }) => type === 'finished').length, events[0].paths);
    }
    const shallow = ['--to', `local?root=${larder.scratch.join('shallow')}`, '--no-recursive'];
    assert.equal((await larder.try(['copy', ...from, ...shallow, first])).status, 0);
    const refused = await larder.try(['copy', ...from, ...shallow, last]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /--no-recursive/);
    for (const wrong of [
      ['copy', last],
      ['copy', ...from, ...shallow, '/etc'],
      ['copy', ...from, ...shallow],
      ['copy', '--to', 'nonsense', last],
    ]) {
      const { status, stderr } = await larder.try(wrong);
      assert.ok(status === 2 || (status === 1 && stderr.includes('nonsense')), stderr);
    }
  });

  test('push by token reaches a private cache, by another or none it does not', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using server = await LarderServer.start(larder);
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'push', paths: 6 });
    const paths = await importClosure(nix, objects);
    const push = ['push', server.cache, paths.at(-1)!, '--store', `local?root=${nix.root}`];
    const wrong = larder.scratch.join('wrong-token');
    await writeFile(wrong, 'not-a-token\n');
    for (const login of [[], ['--token-file', wrong]]) {
      const { status, stderr } = await larder.try([...push, ...login]);
      assert.equal(status, 1);
      assert.match(stderr, /token|login/);
    }
    const pushed = await larder.try([...push, '--token-file', server.tokenFile]);
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stderr, /6\/6/);
    const again = await larder.try([...push, '--token-file', server.tokenFile]);
    assert.match(again.stderr, /everything is there/);
    const [key = ''] = await server.publicKeys();
    const fetched = await nix.fetchFresh(server.cache, key, paths);
    assert.equal(fetched.status, 0, fetched.stderr);
    const info = JSON.parse(
      await larder.run(['path-info', '--json', '-S', '--store', server.cache, paths.at(-1)!]),
    );
    const [theirs] = await nix.pathInfo('--closure-size', paths.at(-1)!);
    assert.equal(info[paths.at(-1)!].narHash, theirs!.narHash);
    assert.equal(info[paths.at(-1)!].closureSize, (theirs as { closureSize?: number }).closureSize);
    assert.equal(info[paths.at(-1)!].signatures.length, 1);
  });

  test('the netrc file logs in as well as a token file', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using server = await LarderServer.start(larder);
    await mkdir(nix.scratch.join('tree'));
    const [path = ''] = await nix.add(nix.scratch.join('tree'));
    const token = (await readFile(server.tokenFile, 'utf8')).trim();
    await writeFile(larder.scratch.join('conf/netrc'), `machine 127.0.0.1 login me password ${token}\n`);
    await larder.run(['push', server.cache, path, '--store', `local?root=${nix.root}`]);
    const dump = await larder.try(['store', 'dump', '--store', server.cache, path]);
    assert.deepEqual(dump.stdout, await nix.runBytes('nix-store', ['--dump', nix.realPath(path)]));
  });

  test('verify finds what is damaged or gone, and repairs it from a cache', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'verify', paths: 4 });
    const paths = await importClosure(nix, objects);
    const cache = `file://${larder.scratch.join('cache')}`;
    const store = `local?root=${nix.root}`;
    await larder.run(['copy', '-q', '--from', store, '--to', cache, ...paths]);
    const verify = ['verify', '--store', store, '--all', '--no-trust'];
    assert.equal((await larder.try(verify)).status, 0);
    await rm(nix.realPath(paths[0]!), { recursive: true });
    await chmod(nix.realPath(paths[1]!), 0o755);
    await writeFile(`${nix.realPath(paths[1]!)}/intruder`, 'x');
    const found = await larder.try([...verify, '--json']);
    assert.equal(found.status, 1);
    const verdicts = found.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const faulty = new Map(
      verdicts.filter(({ faults }) => faults.length > 0).map(({ path, faults }) => [path, faults]),
    );
    assert.deepEqual(faulty.get(objects[0]!.storePath), ['missing']);
    assert.deepEqual(faulty.get(objects[1]!.storePath), ['modified']);
    assert.equal(faulty.size, 2);
    // Nobody vouches for the cache's copies, so they do not come in unless that is said out loud.
    assert.equal((await larder.try([...verify, '--repair', '--from', cache])).status, 1);
    const repaired = await larder.try([...verify, '--repair', '--from', cache, '--no-require-sigs']);
    assert.equal(repaired.status, 0, repaired.stderr);
    const checked = await nix.try('nix-store', ['--verify', '--check-contents']);
    assert.equal(checked.status, 0, checked.stderr);
    assert.equal((await larder.try(['verify', '--store', store, '--all'])).status, 1, 'nothing is signed');
  });

  test('store query answers as nix-store --query does', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'query', paths: 8 });
    const paths = await importClosure(nix, objects);
    for (const question of [
      '--references',
      '--requisites',
      '--referrers',
      '--referrers-closure',
      '--deriver',
      '--hash',
      '--size',
    ]) {
      for (const path of [paths[3]!]) {
        const ours = await larder.run([
          'store',
          'query',
          question,
          '--store',
          `local?root=${nix.root}`,
          path,
        ]);
        const theirs = await nix.run('nix-store', ['--query', question, path]);
        assert.deepEqual(ours.split('\n').sort(), theirs.split('\n').sort(), question);
      }
    }
    const none = await larder.try(['store', 'query', '--store', `local?root=${nix.root}`, paths[0]!]);
    assert.equal(none.status, 2);
  });

  test('store add prints what nix-store --add prints', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const file = nix.scratch.join('motd');
    await writeFile(file, 'hello\n');
    const store = ['--store', `local?root=${larder.scratch.join('store')}`];
    assert.equal(await larder.run(['store', 'add', ...store, file]), (await nix.add(file))[0]);
    const flat = await nix.run('nix-store', ['--add-fixed', 'sha256', file]);
    assert.equal(await larder.run(['store', 'add', '--flat', ...store, file]), flat);
  });

  test('config show names the file and line of a setting', async () => {
    await using larder = await Larder.create();
    await writeFile(larder.scratch.join('conf/nix.conf'), 'cores = 3\nconnect-timeout = 7\n');
    const one = await larder.run(['config', 'show', 'connect-timeout']);
    assert.equal(one, `connect-timeout = 7  # ${larder.scratch.join('conf/nix.conf')}:2`);
    const all = JSON.parse(await larder.run(['config', 'show', '--all', '--json']));
    assert.equal(all.cores.value, '3');
    assert.equal((await larder.try(['config', 'show', 'nothing'])).status, 1);
    const wrong = await larder.try(['config', 'show', '--option', 'connect-timeout=soon']);
    assert.match(wrong.stderr, /command line.*connect-timeout/);
  });
});
