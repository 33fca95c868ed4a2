import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { freePort } from '../engines/scratch.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { TestServer } from '../server/running.js';

interface Finding {
  readonly level: string;
  readonly check: string;
  readonly text: string;
  readonly remedy?: string;
}

/** Larder's verbs on the configuration of a stock Nix. */
function onConfigurationOf(larder: Larder, nix: Nix) {
  const env = { ...larder.env, NIX_CONF_DIR: nix.scratch.join('conf') };
  return {
    run: (args: string[], input?: string) =>
      larder.run(args, { env, ...(input === undefined ? {} : { input }) }),
    fail: async (args: string[], input?: string) => {
      const result = await larder.try(args, { env, ...(input === undefined ? {} : { input }) });
      assert.equal(result.status, 1, args.join(' '));
      return result.stderr;
    },
    doctor: async (...caches: string[]) => {
      const { status, stdout } = await larder.try(['doctor', '--json', ...caches], { env });
      const findings = JSON.parse(stdout.toString()) as Finding[];
      const faults = findings.filter(({ level }) => level === 'failed');
      assert.equal(status, faults.length > 0 ? 1 : 0);
      // The store of the machine is not the test's business.
      return faults.filter(({ check }) => check !== 'store').map(({ check }) => check);
    },
  };
}

test('stock Nix fetches from a private cache with what login and use wrote, and no longer after they are undone', async (t) => {
  needsComponent(t, 'nix');
  await using server = await TestServer.start();
  await server.addCache({ name: 'team', public: false });
  const cache = `${server.url}/team`;
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  const conf = nix.scratch.join('conf/nix.conf');
  const netrc = nix.scratch.join('conf/netrc');
  await writeFile(netrc, '# mine\nmachine other.example.org login me password secret\n');
  const before = { conf: await readFile(conf, 'utf8'), netrc: await readFile(netrc, 'utf8') };
  const verbs = onConfigurationOf(larder, nix);

  const store = `local?root=${larder.scratch.join('store')}`;
  const path = await larder.run(['store', 'add', '--store', store, import.meta.filename]);
  const tokenFile = larder.scratch.join('token');
  await writeFile(tokenFile, server.token);
  await larder.run(['push', cache, '--store', store, '--token-file', tokenFile, path]);

  assert.deepEqual(await verbs.doctor(cache), ['substituters', 'login']);
  assert.match(await verbs.fail(['use', cache]), /larder login/);
  assert.match(await verbs.fail(['login', server.url], 'larder_wrong'), /not known/);
  assert.equal(await readFile(netrc, 'utf8'), before.netrc, 'a refused token is not written');

  for (let round = 0; round < 2; round++) {
    await verbs.run(['login', server.url], `${server.token}\n`);
    await verbs.run(['use', cache]);
  }
  assert.equal((await stat(netrc)).mode & 0o777, 0o600);
  assert.equal((await readFile(netrc, 'utf8')).match(/machine 127\.0\.0\.1/g)?.length, 1);
  assert.equal((await readFile(conf, 'utf8')).match(/larder\.conf/g)?.length, 1);
  assert.deepEqual(await verbs.doctor(), []);

  await nix.run('nix-store', ['--realise', path]);
  const shown = await larder.run(['config', 'show', 'substituters'], {
    env: { ...larder.env, NIX_CONF_DIR: nix.scratch.join('conf') },
  });
  assert.match(shown, /\/team/);

  await verbs.run(['use', '--undo', cache]);
  await verbs.run(['logout', server.url]);
  assert.deepEqual({ conf: await readFile(conf, 'utf8'), netrc: await readFile(netrc, 'utf8') }, before);
  await assert.rejects(stat(nix.scratch.join('conf/larder.conf')));
  assert.match(await verbs.run(['logout', server.url]), /there was no token/);
});

test('a user without rights on the machine gets files of their own', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'team', public: false });
  await using larder = await Larder.create();
  const home = larder.scratch.join('home/.config/nix');
  const scope = ['--scope', 'user'];
  await larder.run(['login', server.url, ...scope], { input: server.token });
  await larder.run(['use', `${server.url}/team`, ...scope]);
  const conf = await readFile(`${home}/larder.conf`, 'utf8');
  assert.match(conf, new RegExp(`^netrc-file = ${home}/netrc$`, 'm'));
  assert.match(conf, /^extra-trusted-public-keys = team-1:/m);
  assert.match(await larder.run(['config', 'show', 'trusted-public-keys']), /team-1:/);
  await larder.run(['use', '--undo', `${server.url}/team`, ...scope]);
  await larder.run(['logout', server.url, ...scope]);
  for (const file of ['larder.conf', 'nix.conf', 'netrc'])
    await assert.rejects(stat(`${home}/${file}`), file);
});

test('the doctor finds what is wrong, the likeliest first, and says what to do', async () => {
  await using server = await TestServer.start();
  await server.addCache({ name: 'team', public: false });
  await using larder = await Larder.create();
  const configure = (text: string) => writeFile(larder.scratch.join('conf/nix.conf'), text);
  const doctor = async (...caches: string[]) => {
    const { stdout } = await larder.try(['doctor', '--json', ...caches]);
    return (JSON.parse(stdout.toString()) as Finding[]).filter(
      ({ level, check }) => level !== 'ok' && check !== 'store',
    );
  };
  const cases: [conf: string, level: string, check: string, text: RegExp][] = [
    ['substituters =', 'failed', 'substituters', /no cache is configured/],
    [`substituters = http://127.0.0.1:${await freePort()}/main`, 'failed', 'reachable', /nothing listens/],
    ['substituters = http://larder.invalid/main', 'failed', 'reachable', /name larder\.invalid is not known/],
    [`substituters = ${server.url}/main`, 'failed', 'key', /signs with main-1/],
    [
      `substituters = ${server.url}/main\ntrusted-public-keys = main-1:${'A'.repeat(43)}=`,
      'failed',
      'key',
      /'main-1' that is trusted .* is not the one/,
    ],
    [`substituters = ${server.url}/team`, 'failed', 'login', /has none for 127\.0\.0\.1/],
    [`substituters = ${server.url}/main\nsubstitute = false`, 'failed', 'substitute', /turned off/],
    [`substituters = ${server.url}/main\nrequire-sigs = false`, 'warning', 'signatures', /unsigned/],
  ];
  for (const [conf, level, check, text] of cases) {
    await configure(conf);
    const [first] = await doctor();
    assert.deepEqual([first?.level, first?.check], [level, check], conf);
    assert.match(first?.text ?? '', text);
    assert.ok(first?.remedy, conf);
  }

  await configure(`substituters = ${server.url}/team`);
  await mkdir(larder.scratch.join('conf'), { recursive: true });
  await writeFile(larder.scratch.join('conf/netrc'), 'machine 127.0.0.1 password wrong\n', { mode: 0o644 });
  const findings = await doctor();
  assert.deepEqual(
    findings.map(({ check }) => check),
    ['netrc', 'login'],
  );
  assert.match(findings[1]?.text ?? '', /refuses the token/);
});
