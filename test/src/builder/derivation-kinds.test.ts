import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { Nix, type NixPathInfo } from '../oracle/nix.js';
import { type DerivationKind, derivationKinds, prelude } from './derivation-kinds.js';
import { buildWithLarder } from './larder-build.js';

/** What both builders are told. */
const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr', 'log-lines': '10' };
const extraEnvironment = { KIND_VARIABLE: 'from the caller' };

interface Setting {
  readonly nix: Nix;
  readonly ours: Nix;
  readonly server: Server;
  readonly scratch: Scratch;
  readonly words: Readonly<Record<string, string>>;
}

let setting: Setting | undefined;

before(async () => {
  const scratch = await makeScratch('kinds');
  const files = await makeFiles(scratch);
  const server = createServer((request, response) => {
    const body = files.get(request.url ?? '');
    response.statusCode = body === undefined ? 404 : 200;
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const [nix, ours] = await Promise.all([Nix.create({ settings }), Nix.create({ settings })]);
  // Reachable for everybody, so that Larder builds as a user of its own.
  await chmod(ours.scratch.path, 0o755);
  setting = {
    nix,
    ours,
    server,
    scratch,
    words: { ...hashes(scratch, files), URL: `http://127.0.0.1:${port}`, PORT: `${port}` },
  };
});

after(async () => {
  setting?.server.close();
  for (const each of [setting?.nix, setting?.ours, setting?.scratch]) await each?.[Symbol.asyncDispose]();
});

async function makeFiles({ join }: Scratch): Promise<Map<string, Buffer>> {
  await mkdir(join('tree/pkgs/lib'), { recursive: true });
  await writeFile(join('tree/pkgs/default.nix'), '{ }\n');
  await writeFile(join('tree/pkgs/lib/run'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(join('file'), 'a file on the network\n');
  const tar = execFileSync('tar', ['-C', join('tree'), '--sort=name', '--mtime=@1', '-cz', 'pkgs']);
  const nar = execFileSync('xz', ['-c'], { input: execFileSync('nix-store', ['--dump', join('tree')]) });
  return new Map([
    ['/file', Buffer.from('a file on the network\n')],
    ['/channel.tar.gz', tar],
    ['/file.nar.xz', nar],
  ]);
}

function hashes({ join }: Scratch, files: ReadonlyMap<string, Buffer>): Record<string, string> {
  const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
  const narHash = (path: string, algorithm = 'sha256') =>
    createHash(algorithm)
      .update(execFileSync('nix-store', ['--dump', path]))
      .digest('hex');
  execFileSync('sh', ['-c', 'cp file executable; chmod +x executable; mkdir small; printf x > small/x'], {
    cwd: join(),
  });
  return {
    FILE_HASH: sha256(files.get('/file')!),
    FILE_EXECUTABLE_HASH: narHash(join('executable')),
    TREE_HASH: narHash(join('tree')),
    CHANNEL_HASH: sha256(files.get('/channel.tar.gz')!),
    SHA1_TREE: narHash(join('small'), 'sha1'),
  };
}

for (const [name, kind] of Object.entries(derivationKinds)) {
  test(`${name}: Larder builds what Nix builds, or fails where it fails`, async (t) => {
    if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
    await compareBuilds(kind, setting!);
  });
}

async function compareBuilds(kind: DerivationKind, { nix, ours, words }: Setting): Promise<void> {
  const body = Object.entries(words).reduce(
    (text, [word, value]) => text.replaceAll(new RegExp(`\\b${word}\\b`, 'g'), value),
    kind.expression,
  );
  const expression = `let ${prelude} in ${body}`;
  const [[derivation = ''], [same]] = await Promise.all([
    nix.instantiate(expression),
    ours.instantiate(expression),
  ]);
  assert.equal(derivation, same);
  const options = Object.entries(kind.settings ?? {}).flatMap(([key, value]) => ['--option', key, value]);
  const [theirs, result] = await Promise.all([
    buildWithNix(nix, [derivation, ...options], kind.succeeds),
    buildWithLarder(ours, [derivation], { ...settings, ...kind.settings }, extraEnvironment),
  ]);
  assert.equal(theirs.status === 0, kind.succeeds, `stock Nix: ${theirs.stderr}`);
  assert.equal(result.status === 0, kind.succeeds, `Larder: ${result.stderr}`);
  const outputs = (await nix.run('nix-store', ['--query', '--outputs', derivation])).split('\n');
  for (const output of outputs) {
    const [expected, actual] = await Promise.all([nix, ours].map((store) => describe(store, output)));
    assert.deepEqual(actual, expected);
  }
}

/**
 * Builds with stock Nix. That kills a builder which has closed its output, even if it is just about to exit, and on a busy
 * machine then takes its success for a failure: such a build is tried again.
 */
async function buildWithNix(
  nix: Nix,
  args: readonly string[],
  succeeds: boolean,
): Promise<Awaited<ReturnType<Nix['try']>>> {
  for (let attempt = 1; ; attempt++) {
    const env = { ...nix.environment, ...extraEnvironment };
    const result = await nix.try('nix-store', ['--realise', ...args], { env });
    const wasKilled = result.status !== 0 && result.stderr.includes('due to signal 9 (Killed)');
    if (!succeeds || !wasKilled || attempt === 5) return result;
  }
}

/** All that the store knows of a valid path. */
async function describe(store: Nix, path: string): Promise<Partial<NixPathInfo> | undefined> {
  const result = await store.try('nix', ['path-info', '--json', path]);
  if (result.status !== 0) return undefined;
  const [info] = JSON.parse(result.stdout.toString()) as [
    NixPathInfo & { registrationTime: number; valid?: boolean },
  ];
  if (info.valid === false) return undefined;
  return { ...info, registrationTime: undefined } as Partial<NixPathInfo>;
}

test('in the end both stores have the same valid paths, and Nix finds nothing wrong with ours', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  const { nix, ours } = setting!;
  const [expected, actual] = await Promise.all(
    [nix, ours].map((store) => store.run('nix', ['path-info', '--all'])),
  );
  assert.deepEqual(actual!.split('\n').sort(), expected!.split('\n').sort());
  const verified = await ours.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(verified.status, 0, verified.stderr);
  assert.doesNotMatch(verified.stderr, /error|modified|disappeared/);
});
