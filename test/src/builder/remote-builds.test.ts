// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { SshServer } from '../oracle/ssh-server.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' };
/** Where ssh of these tests finds nothing of the user's. */
const sshOptions = { NIX_SSHOPTS: '-F none -o "BatchMode yes"' };

let here: Nix;
let there: Nix;
let server: SshServer;
/** The other machine as `builders` names it, with these systems, jobs, speed and features. */
let machine: (columns?: string) => string;

before(async () => {
  here = await Nix.create({ settings });
  there = await Nix.create();
  for (const nix of [here, there]) await chmod(nix.scratch.path, 0o755);
  await mkdir(there.scratch.join('signals'));
  await there.configure({
    ...settings,
    // What builds see there, and not here.
    'sandbox-paths': `${settings['sandbox-paths']} /signals=${there.scratch.join('signals')}`,
    substituters: `file://${there.scratch.join('binary-cache')}`,
    'require-sigs': 'false',
  });
  server = await SshServer.start(there.environment);
  const uri = `ssh-ng://${server.host}:${server.port}?remote-store=${there.root}`;
  const hostKey = Buffer.from(server.hostKey).toString('base64');
  machine = (columns = '4 1 big -') =>
    `${uri} x86_64-linux,riscv64-linux ${server.keyFile} ${columns} ${hostKey}`;
});

after(async () => {
  await server?.[Symbol.asyncDispose]();
  for (const nix of [here, there]) await nix?.[Symbol.asyncDispose]();
});

async function build(expression: string, builders: string, more: Readonly<Record<string, string>> = {}) {
  const [derivation = ''] = await here.instantiate(`let ${prelude} in ${expression}`);
  const result = await buildWithLarder(here, [derivation], { ...settings, builders, ...more }, sshOptions);
  return { ...result, derivation, output: result.stdout.toString().trim() };
}

test('a build on another machine', async (t) => {
  if (!['nix', 'ssh', 'sandbox'].every((name) => needsComponent(t, name as 'nix'))) return;

  await t.test('is sent what it reads, logs as it goes, and comes back whole', async () => {
    const result = await build(
      'sh "echo over there ü; mkdir $out; ln -s ${above} $out/above; cat ${text} > $out/text; echo $out > $out/self; echo $out > $dev" { name = "remote"; outputs = [ "out" "dev" ]; inherit other; }',
      machine(),
      { 'max-jobs': '0' },
    );
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /^building '.*-remote\.drv' on 'ssh-ng:\/\/.*'\.\.\.$/m);
    assert.match(result.stderr, /^remote> over there ü$/m);
    assert.doesNotMatch(result.stderr, /^building '[^']*'\.\.\.$/m);
    assert.match((await here.run('nix-store', ['--read-log', result.derivation])).toString(), /over there/);
    const verified = await here.try('nix-store', ['--verify', '--check-contents']);
    assert.doesNotMatch(verified.stderr, /error|modified|missing/);
    const outputs = result.output.split('\n');
    const [ours, theirs] = await Promise.all([here, there].map((nix) => nix.pathInfo(...outputs)));
    const facts = (infos: typeof ours) =>
      infos!.map(({ path, narHash, references }) => ({ path, narHash, references: [...references].sort() }));
    assert.deepEqual(facts(ours), facts(theirs));
    assert.deepEqual(
      ours!.map(({ deriver, ultimate }) => [deriver, ultimate ?? false]),
      [
        [result.derivation, false],
        [result.derivation, false],
      ],
    );
  });

  await t.test('is chosen by system and features, and left out where it must be', async () => {
    const foreign = await build(
      'sh "echo > $out" { system = "riscv64-linux"; name = "foreign"; }',
      machine(),
    );
    // The other one is no such machine either, and says so.
    assert.match(foreign.stderr, /build of '.*-foreign\.drv' on 'ssh-ng:.*' failed: .*a 'riscv64-linux'/);
    const nowhere = await build('sh "echo > $out" { system = "mips-linux"; name = "nowhere"; }', machine());
    assert.equal(nowhere.status, 1);
    assert.match(
      nowhere.stderr,
      /no machine can build '.*-nowhere\.drv', which requires 'mips-linux' with features \{\}/,
    );
    const local = await build('sh "echo > $out" { preferLocalBuild = true; name = "local"; }', machine());
    assert.match(local.stderr, /^building '.*-local\.drv'\.\.\.$/m);
    const special = await build('sh "echo > $out" { name = "special"; }', machine('4 1 - special'));
    assert.match(special.stderr, /^building '.*-special\.drv'\.\.\.$/m);
  });

  await t.test('fails as it does here', async () => {
    const failed = await build('sh "echo alas; exit 3" { name = "failing"; }', machine());
    assert.equal(failed.status, 1);
    assert.match(
      failed.stderr,
      /build of '.*-failing\.drv' on 'ssh-ng:.*' failed: builder for '.*' failed with exit code 3/,
    );
    const wrong = await build(
      'sh "echo x > $out" { name = "wrong"; outputHash = builtins.hashString "sha256" "y"; outputHashAlgo = "sha256"; }',
      machine(),
    );
    assert.match(wrong.stderr, /on 'ssh-ng:.*' failed: hash mismatch in fixed-output derivation/);
    const slow = await build('sh "echo begun; sleep 30" { name = "slow"; }', machine(), { timeout: '1' });
    assert.match(slow.stderr, /build of '.*-slow\.drv' on 'ssh-ng:.*' timed out after 1 seconds/);
  });

  await t.test('goes on elsewhere where a machine cannot be reached', async () => {
    const absent = `ssh-ng://nobody@127.0.0.1:1 x86_64-linux - 4 9 ; ${machine()}`;
    const moved = await build('sh "echo > $out" { name = "moved"; }', absent, { 'max-jobs': '0' });
    assert.equal(moved.status, 0, moved.stderr);
    assert.match(
      moved.stderr,
      /^cannot build on 'ssh-ng:\/\/nobody@127\.0\.0\.1:1': the store of .* is not reached by ssh: /m,
    );
    assert.match(moved.stderr, /^building '.*-moved\.drv' on /m);
    const [alone = ''] = absent.split(';');
    const home = await build('sh "echo > $out" { name = "home"; }', alone);
    assert.equal(home.status, 0, home.stderr);
    const lost = await build('sh "echo > $out" { name = "lost"; }', alone, { 'max-jobs': '0' });
    assert.equal(lost.status, 1);
    assert.match(lost.stderr, /no machine can build '.*-lost\.drv'/);
  });

  await t.test('goes on elsewhere where a machine is lost in the middle of a build', async () => {
    const begun = there.scratch.join('signals/begun');
    const building = build(
      'sh "if test -e /signals; then touch /signals/begun; sleep 60; fi; echo > $out" { name = "midway"; }',
      machine(),
    );
    let ended = false;
    const end = building.finally(() => {
      ended = true;
    });
    while (!ended && !existsSync(begun)) await sleep(20);
    await server.dropSessions();
    const result = await end;
    assert.equal(result.status, 0, result.stderr);
    assert.match(
      result.stderr,
      /^building '.*-midway\.drv' on 'ssh-ng:.*'\.\.\.\n(.*\n)*cannot build on 'ssh-ng:.*': .+\n(.*\n)*building '[^']*-midway\.drv'\.\.\.$/m,
    );
    assert.ok((await here.pathInfo(result.output))[0]!.ultimate, 'it was built here in the end');
  });

  await t.test('is sent its inputs, or fetches what its own caches have of them', async () => {
    const secret = there.scratch.join('cache-key');
    await writeFile(secret, await here.run('nix', ['key', 'generate-secret', '--key-name', 'their-cache']));
    const signaturesThere = async (name: string, flags: Readonly<Record<string, string>>) => {
      const input = `sh "echo input of ${name} > $out" { name = "input-of-${name}"; preferLocalBuild = true; }`;
      const { output } = await build(input, machine());
      await here.run('nix', [
        'copy',
        '--to',
        `file://${there.scratch.join('binary-cache')}?secret-key=${secret}`,
        output,
      ]);
      const result = await build(`sh "cat \${${input}} > $out" { name = "${name}"; }`, machine(), flags);
      assert.equal(result.status, 0, result.stderr);
      assert.match(result.stderr, new RegExp(`^building '.*-${name}\\.drv' on `, 'm'));
      const [info] = await there.pathInfo(output);
      return (info!.signatures ?? []).map((signature) => signature.split(':')[0]);
    };
    assert.deepEqual(await signaturesThere('sent', {}), []);
    assert.deepEqual(await signaturesThere('fetched', { 'builders-use-substitutes': 'true' }), [
      'their-cache',
    ]);
  });

  await t.test('takes no more jobs than the machine has, and the rest is built here', async () => {
    const file = here.scratch.join('machines');
    await writeFile(file, `# the only one\n${machine('1 1 - -')}\n`);
    const wide =
      'sh "echo ${toString (map (n: sh "sleep 1; echo ${toString n} > $out" { name = "part-${toString n}"; }) [ 1 2 3 4 ])} > $out" { name = "wide"; }';
    const result = await build(wide, `@${file}`, { 'max-jobs': '1' });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /^building '.*-part-\d\.drv'\.\.\.$/m);
    assert.match(result.stderr, /^building '.*-part-\d\.drv' on /m);
    assert.ok(existsSync(`${here.root}/nix/var/nix/current-load`));
  });

  await t.test('gives content-addressed outputs, known by their realisations', async () => {
    const floating =
      'sh "echo same > $out; echo $out >> $out" { name = "floating"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }';
    const flags = { 'max-jobs': '0', 'experimental-features': 'nix-command ca-derivations' };
    const result = await build(
      `sh "cat \${${floating}} > $out" { name = "over"; }`,
      machine('2 1 ca-derivations -'),
      flags,
    );
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /^building '.*-floating\.drv' on /m);
    assert.match(await readFile(here.realPath(result.output), 'utf8'), /^same\n\/nix\/store\/.*-floating\n$/);
    const verified = await here.try('nix-store', ['--verify', '--check-contents']);
    assert.doesNotMatch(verified.stderr, /error|modified|missing/);
  });
});
