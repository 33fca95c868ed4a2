// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { runProgram, tryProgram } from '../oracle/program.js';

const executable = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

const features = ['--option', 'extra-experimental-features', 'flakes fetch-closure'];

/** What an expression gives as JSON, evaluated by Larder in the place of this Nix. */
async function ours(nix: Nix, expression: string, env: Record<string, string> = {}): Promise<unknown> {
  const args = [executable, 'instantiate', '--eval', '--strict', '--json', '--read-write-mode', ...features];
  const output = await runProgram(process.execPath, [...args, '-E', expression], {
    env: { ...nix.environment, ...env },
    cwd: nix.scratch.path,
  });
  return JSON.parse(output.toString());
}

async function theirs(nix: Nix, expression: string): Promise<unknown> {
  const args = [
    'eval',
    '--impure',
    '--json',
    '--extra-experimental-features',
    'flakes',
    '--expr',
    expression,
  ];
  return JSON.parse(await nix.run('nix', args, { cwd: nix.scratch.path }));
}

async function git(nix: Nix, directory: string, ...args: readonly string[]): Promise<string> {
  const identity = ['-c', 'user.name=Someone', '-c', 'user.email=someone@example.org'];
  const options = { env: { ...nix.environment, GIT_COMMITTER_DATE: '1700000000 +0000' } };
  const output = await runProgram('git', ['-C', directory, ...identity, ...args], options);
  return output.toString().trim();
}

/** A repository with these files in one commit; gives the commit. */
async function makeRepository(
  nix: Nix,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const directory = nix.scratch.join(name);
  await mkdir(directory);
  await git(nix, directory, 'init', '--quiet', '--initial-branch=main');
  for (const [file, contents] of Object.entries(files)) await writeFile(`${directory}/${file}`, contents);
  await git(nix, directory, 'add', '.');
  await git(nix, directory, 'commit', '--quiet', '--message=first', '--date=1700000000 +0000');
  return git(nix, directory, 'rev-parse', 'HEAD');
}

async function listen(server: Server): Promise<{ port: number } & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Serves the files below a directory. */
function serveFiles(directory: string): RequestListener {
  return (request, response) => {
    readFile(`${directory}${request.url}`).then(
      (contents) => response.end(contents),
      () => response.writeHead(404).end(),
    );
  };
}

async function makeTarball(nix: Nix, name: string): Promise<void> {
  const tree = nix.scratch.join('tree/inside');
  await mkdir(`${tree}/bin`, { recursive: true });
  await mkdir(nix.scratch.join('served'), { recursive: true });
  await writeFile(`${tree}/flake.nix`, '{ outputs = { self }: { answer = 42; }; }');
  await writeFile(`${tree}/bin/run`, '#!/bin/sh\n', { mode: 0o755 });
  const file = nix.scratch.join(`served/${name}`);
  const fixed = ['--mtime=@1700000000', '--owner=0', '--group=0', '--sort=name'];
  await runProgram('tar', [...fixed, '-C', nix.scratch.join('tree'), '-czf', file, 'inside'], {
    env: nix.environment,
  });
}

test('files and tarballs are fetched over HTTP as stock Nix fetches them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await makeTarball(nix, 'tree.tar.gz');
  await using server = await listen(createHttpServer(serveFiles(nix.scratch.join('served'))));
  const url = `http://127.0.0.1:${server.port}/tree.tar.gz`;
  const tree = `builtins.fetchTarball "${url}"`;
  const expression = `{
    file = builtins.fetchurl "${url}";
    tree = ${tree};
    named = builtins.fetchTarball { url = "${url}"; name = "other"; };
    entries = builtins.readDir (${tree});
    fetched = (builtins.fetchTree { type = "tarball"; url = "${url}"; }).narHash;
    answer = (builtins.getFlake "${url}").answer;
  }`;
  const expected = await theirs(nix, expression);
  assert.deepEqual(await ours(nix, expression), expected);
  const wrong = `builtins.fetchTarball { url = "${url}?2"; sha256 = "${'0'.repeat(52)}"; }`;
  await assert.rejects(ours(nix, wrong.replace('?2', '')), /hash mismatch in tarball downloaded from/);
  await assert.rejects(ours(nix, wrong), /unable to download '.*': HTTP error 404/);
});

test('git trees: revisions, branches, changes that are not committed, and tracked files alone', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'git')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const first = await makeRepository(nix, 'repo', { file: 'one', link: 'x' });
  const repo = nix.scratch.join('repo');
  await git(nix, repo, 'branch', 'side');
  await writeFile(`${repo}/file`, 'two');
  await git(nix, repo, 'commit', '--quiet', '--all', '--message=second');
  await writeFile(`${repo}/untracked`, 'no');
  const some = '{ inherit (tree) outPath rev shortRev revCount lastModified narHash submodules; }';
  const expression = `{
    head = let tree = builtins.fetchGit ${repo}; in ${some};
    old = let tree = builtins.fetchGit { url = "file://${repo}"; rev = "${first}"; }; in ${some};
    side = let tree = builtins.fetchGit { url = ${repo}; ref = "side"; name = "named"; }; in ${some};
  }`;
  assert.deepEqual(await ours(nix, expression), await theirs(nix, expression));
  await writeFile(`${repo}/file`, 'three, not committed');
  const dirty = `let tree = builtins.fetchGit ${repo}; in
    [ tree.outPath tree.rev tree.revCount (builtins.attrNames (builtins.readDir tree.outPath)) ]`;
  assert.deepEqual(await ours(nix, dirty), await theirs(nix, dirty));
});

test('flakes: a lock file, inputs that follow others, and inputs that are no flakes', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'git')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const at = (name: string): string => `git+file://${nix.scratch.join(name)}`;
  await makeRepository(nix, 'base', { 'flake.nix': '{ outputs = { self }: { name = "base"; }; }' });
  await makeRepository(nix, 'other', { 'flake.nix': '{ outputs = { self }: { name = "other"; }; }' });
  await makeRepository(nix, 'plain', { data: 'plain data' });
  await makeRepository(nix, 'middle', {
    'flake.nix': `{ inputs.base.url = "${at('base')}"; outputs = { self, base }: { over = "middle of \${base.name}"; }; }`,
  });
  await makeRepository(nix, 'top', {
    'flake.nix': `{
      inputs = {
        middle.url = "${at('middle')}";
        middle.inputs.base.follows = "other";
        other.url = "${at('other')}";
        plain = { url = "${at('plain')}"; flake = false; };
      };
      outputs = { self, middle, other, plain }: {
        value = [ middle.over other.name (builtins.readFile "\${plain}/data") self.rev ];
      };
    }`,
  });
  const expression = `(builtins.getFlake "${at('top')}").value`;
  const unlocked = await ours(nix, expression);
  assert.deepEqual((unlocked as string[]).slice(0, 3), ['middle of other', 'other', 'plain data']);
  await nix.run('nix', ['flake', 'lock', '--extra-experimental-features', 'flakes', nix.scratch.join('top')]);
  const top = nix.scratch.join('top');
  assert.match(await readFile(`${top}/flake.lock`, 'utf8'), /"follows"|"other"/);
  await git(nix, top, 'add', '.');
  await git(nix, top, 'commit', '--quiet', '--message=lock');
  // What is locked stays, whatever happens to the repository it is from.
  await writeFile(nix.scratch.join('other/flake.nix'), '{ outputs = { self }: { name = "changed"; }; }');
  await git(nix, nix.scratch.join('other'), 'commit', '--quiet', '--all', '--message=changed');
  assert.deepEqual(await ours(nix, expression), await theirs(nix, expression));
});

test('github: references are looked up and fetched from the host, as its API is laid out', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'openssl')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await makeTarball(nix, 'archive');
  const revision = 'c0ffee'.repeat(6).padEnd(40, '0');
  const certificate = nix.scratch.join('cert.pem');
  const key = nix.scratch.join('key.pem');
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject];
  await runProgram('openssl', [...request, '-keyout', key, '-out', certificate], { env: nix.environment });
  const asked: string[] = [];
  const tokens = new Set<string | undefined>();
  const archive = await readFile(nix.scratch.join('served/archive'));
  const serve: RequestListener = ({ url = '', headers }, response) => {
    asked.push(url);
    tokens.add(headers.authorization);
    if (url.endsWith('/commits/HEAD')) response.end(JSON.stringify({ sha: revision }));
    else response.end(archive);
  };
  const tls = { cert: await readFile(certificate), key: await readFile(key) };
  await using server = await listen(createHttpsServer(tls, serve));
  const reference = `github:someone/something?host=127.0.0.1:${server.port}`;
  const expression = `let flake = builtins.getFlake "${reference}"; in [ flake.answer flake.rev flake.lastModified ]`;
  const value = await ours(nix, expression, { NODE_EXTRA_CA_CERTS: certificate });
  assert.deepEqual(value, [42, revision, 1700000000]);
  const api = '/api/v3/repos/someone/something';
  assert.deepEqual(asked, [`${api}/commits/HEAD`, `${api}/tarball/${revision}`]);
  assert.deepEqual([...tokens], [undefined]);
  tokens.clear();
  const host = `127.0.0.1:${server.port}`;
  const setting = `access-tokens = ${host}=wide ${host}/someone=narrow ${host}/some=no example.org=no`;
  await ours(nix, expression, { NODE_EXTRA_CA_CERTS: certificate, NIX_CONFIG: setting });
  assert.deepEqual([...tokens], ['token narrow'], 'the token for the longest place');
});

test('tokens and logins go with the requests they are for, and with no others', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await makeTarball(nix, 'archive');
  const archive = await readFile(nix.scratch.join('served/archive'));
  const asked: [url: string, authorization: string | undefined][] = [];
  await using server = await listen(
    createHttpServer(({ url = '', headers }, response) => {
      asked.push([url, headers.authorization]);
      response.end(archive);
    }),
  );
  await nix.login('secret');
  const login = `Basic ${Buffer.from('larder:secret').toString('base64')}`;
  const inline = `http://someone:else@127.0.0.1:${server.port}/inline`;
  const fetched = `[ (builtins.fetchTarball "http://127.0.0.1:${server.port}/netrc") (builtins.fetchTarball "${inline}") ]`;
  const [first, second] = (await ours(nix, fetched)) as string[];
  assert.equal(first, second);
  assert.deepEqual(asked, [
    ['/netrc', login],
    ['/inline', `Basic ${Buffer.from('someone:else').toString('base64')}`],
  ]);
  const other = `builtins.fetchTarball "http://localhost:${server.port}/elsewhere"`;
  assert.equal(await ours(nix, other), first);
  assert.deepEqual(asked.at(-1), ['/elsewhere', undefined]);
});

test('Mercurial repositories', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'mercurial')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const repo = nix.scratch.join('repo');
  const hg = (...args: readonly string[]) =>
    runProgram('hg', [...args, '--cwd', repo, '--config', 'ui.username=someone'], { env: nix.environment });
  await mkdir(repo);
  await hg('init');
  await writeFile(`${repo}/file`, 'one');
  await hg('add', 'file');
  await hg('commit', '--message', 'first', '--date', '1700000000 0');
  const clean = `builtins.fetchMercurial ${repo}`;
  assert.deepEqual(
    await ours(nix, `{ inherit (${clean}) outPath rev shortRev revCount branch; }`),
    await theirs(nix, `{ inherit (${clean}) outPath rev shortRev revCount branch; }`),
  );
  await writeFile(`${repo}/file`, 'two');
  await writeFile(`${repo}/untracked`, 'no');
  const dirty = `[ (${clean}).outPath (${clean}).rev ]`;
  assert.deepEqual(await ours(nix, dirty), await theirs(nix, dirty));
  const old = `(builtins.fetchMercurial { url = ${repo}; rev = "default"; }).outPath`;
  assert.deepEqual(await ours(nix, old), await theirs(nix, old));
});

test('closures are fetched from a cache, and say how they are addressed', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await using other = await Nix.create({ storeDir: 'diverted' });
  await writeFile(nix.scratch.join('source'), 'contents');
  const [path] = (await nix.add(nix.scratch.join('source'))) as [string];
  const cache = nix.scratch.join('cache-files');
  await nix.run('nix', ['copy', '--to', `file://${cache}`, path]);
  assert.ok((await readdir(cache)).includes('nix-cache-info'));
  await using server = await listen(createHttpServer(serveFiles(cache)));
  const url = `http://127.0.0.1:${server.port}`;
  // The same store, empty again.
  await nix.run('nix-store', ['--delete', path]);
  const fetch = (more: string): string =>
    `builtins.fetchClosure { fromStore = "${url}"; fromPath = ${path}; ${more} }`;
  assert.equal(await ours(nix, `builtins.readFile (${fetch('')})`), 'contents');
  await assert.rejects(ours(nix, fetch('inputAddressed = true;')), /is not input-addressed/);
  const args = [executable, 'instantiate', '--eval', '-E', 'builtins ? fetchClosure'];
  const without = await tryProgram(process.execPath, args, { env: other.environment });
  assert.equal(without.stdout.toString(), 'false\n');
});
