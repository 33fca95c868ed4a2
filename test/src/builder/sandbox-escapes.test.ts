// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr /sbin=/usr/sbin' };

/** What comes after `deny` must fail: it would be an escape. `SECRET` and `PORT` are the host's. */
const attempts: Readonly<Record<string, string>> = {
  "reading the host's password hashes": 'deny cat /etc/shadow',
  'reading a secret of the host': 'deny cat SECRET',
  "reading root's home": 'deny ls /root; deny ls /home',
  'connecting to a service of the host': "deny bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT'",
  'writing into an input':
    "deny sh -c 'echo changed > ${dep}/file'; deny touch ${dep}/new; deny rm -r ${dep}",
  'opening up an input': 'deny chmod -R u+w ${dep}; deny chmod 777 ${dep}',
  'making an input writable from a namespace of its own':
    'deny unshare -Urm mount -o remount,rw,bind ${dep}; deny unshare -Urm umount ${dep}',
  'linking an input hard': 'deny ln ${dep}/file linked',
  'making a device': 'deny mknod disk b 254 0; deny mknod null c 1 3',
  'opening a disk': 'deny ls /dev/vda; deny ls /dev/mem; deny ls /dev/kmsg',
  'making a setuid program':
    'cp /bin/true t; deny chmod u+s t; deny chmod g+s t; deny chmod 6755 t; mkdir d; deny chmod g+s d',
  'extended attributes': 'touch t; deny setfattr -n user.x -v y t',
  'becoming root': 'deny su -c true; deny setpriv --reuid 0 true; [ $(id -u) = 1000 ]',
  "seeing the host's processes": '[ $(ls /proc | grep -c "^[0-9]") -lt 5 ]; deny kill -0 2',
  // Not tried in earnest: what these do, they do to the machine that runs the tests.
  "writing to the host's settings":
    'for file in sys/kernel/core_pattern sys/kernel/hostname sys/vm/overcommit_memory sysrq-trigger irq/default_smp_affinity; do deny test -w /proc/$file; done',
  'taking its root away': 'deny mkdir /new; deny touch /usr/new; deny touch /etc/new',
  'seeing paths that are no inputs': '[ $(ls -A $NIX_STORE | wc -l) = 1 ]',
};

/** `set -e` does not mind a `!` before a command that succeeds, so it takes a function. */
const deny = 'deny() { if "$@"; then echo "ESCAPED: $*"; exit 1; fi; }';

let store: Nix | undefined;
let words: Readonly<Record<string, string>> = {};
const server = createServer((_, response) => response.end('host'));

before(async () => {
  store = await Nix.create({ settings });
  const secret = store.scratch.join('secret');
  await writeFile(secret, 'the secret\n', { mode: 0o600 });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  words = { SECRET: secret, PORT: String((server.address() as AddressInfo).port) };
});

after(async () => {
  server.close();
  await store?.[Symbol.asyncDispose]();
});

/** `open`: everybody can reach the store, so the build has a user of its own; `private`: it runs as ourselves. */
for (const place of ['open', 'private'] as const) {
  for (const [name, script] of Object.entries(attempts)) {
    test(`a build in a ${place} store does not get by with ${name}`, async (t) => {
      if (!needsComponent(t, 'sandbox') || !needsComponent(t, 'nix')) return;
      const result = await attempt(script, place);
      assert.equal(result.status, 0, result.stderr);
    });
  }
}

async function attempt(script: string, place: 'open' | 'private') {
  await chmod(store!.scratch.path, place === 'open' ? 0o755 : 0o700);
  const filled = Object.entries(words).reduce((text, [word, value]) => text.replaceAll(word, value), script);
  const [derivation = ''] = await store!.instantiate(
    `let ${prelude} in bash ''\n${deny}\n${filled.replaceAll('; ', '\n')}\necho done > $out'' { inherit dep; name = "${place}-${Date.now()}"; }`,
  );
  return buildWithLarder(store!, [derivation], settings);
}

test('an output that links to a file of the host leaves that file alone', async (t) => {
  if (!needsComponent(t, 'sandbox') || !needsComponent(t, 'nix')) return;
  const { SECRET: secret = '' } = words;
  const before = await stat(secret);
  for (const script of [
    `ln -s ${secret} $out`,
    `mkdir $out; ln -s ${secret} $out/x; ln -s /etc/shadow $out/y`,
  ]) {
    const [derivation = ''] = await store!.instantiate(`let ${prelude} in sh "${script}" {}`);
    const result = await buildWithLarder(store!, [derivation], settings);
    assert.equal(result.status, 0, result.stderr);
  }
  const now = await stat(secret);
  assert.deepEqual([now.mode, now.uid, now.mtimeMs], [before.mode, before.uid, before.mtimeMs]);
  assert.equal(await readFile(secret, 'utf8'), 'the secret\n');
});

test('a path that is no output of the build does not come into the store', async (t) => {
  if (!needsComponent(t, 'sandbox') || !needsComponent(t, 'nix')) return;
  const name = `${'0'.repeat(32)}-intruder`;
  const [derivation = ''] = await store!.instantiate(
    `let ${prelude} in sh "echo > $out; echo > $NIX_STORE/${name}" { name = "two"; }`,
  );
  const result = await buildWithLarder(store!, [derivation], settings);
  assert.equal(result.status, 0, result.stderr);
  await assert.rejects(stat(store!.realPath(`/nix/store/${name}`)), { code: 'ENOENT' });
});

test("what a build's own variables preload is not loaded outside of the sandbox", async (t) => {
  if (!needsComponent(t, 'sandbox') || !needsComponent(t, 'nix')) return;
  const directory = store!.scratch.join('preload');
  await mkdir(directory);
  const [derivation = ''] = await store!.instantiate(
    `let ${prelude} in sh "echo > $out" { name = "preload"; LD_PRELOAD = "${directory}/absent.so"; LD_DEBUG = "files"; LD_DEBUG_OUTPUT = "${directory}/debug"; }`,
  );
  const result = await buildWithLarder(store!, [derivation], settings);
  assert.equal(result.status, 0, result.stderr);
  await assert.rejects(stat(`${directory}/debug`), { code: 'ENOENT' });
  assert.deepEqual((await import('node:fs')).readdirSync(directory), []);
});
