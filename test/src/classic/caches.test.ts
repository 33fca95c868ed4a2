import { strict as assert } from 'node:assert';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { expressions, ours, runOurs } from './tools.js';

/** A cache with what `top` gives, in a directory, and nothing of it in the store any more. */
async function fillCache(nix: Nix) {
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  const directory = nix.scratch.join('binary-cache');
  const build = [file, '-A', 'top', '--no-out-link'];
  const top = await nix.run('nix-build', build);
  const leaf = await nix.run('nix-build', [file, '-A', 'leaf', '--no-out-link']);
  await nix.run('nix', ['copy', '--to', `file://${directory}?compression=none`, top]);
  await nix.run('nix-store', ['--gc']);
  return { directory, build, top, leaf };
}

/** Serves a directory and counts what is asked of it. */
async function serveCounting(directory: string) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    readFile(directory + request.url!).then(
      (file) => response.end(file),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** How many narinfos were asked for since the last time. */
    count: () => asked.splice(0).filter((path) => path.endsWith('.narinfo')).length,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

test('what a cache said is kept where Nix keeps it, and either goes by what the other was told', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { directory, build, top } = await fillCache(nix);
  await using server = await serveCounting(directory);
  const kept = { 'narinfo-cache-positive-ttl': '3600', 'narinfo-cache-negative-ttl': '3600' };
  await nix.configure({ substituters: server.url, 'require-sigs': 'false', ...kept });
  const plan = [...build, '--dry-run'];
  const first = await runOurs(nix, 'nix-build', plan);
  const needed = server.count();
  assert.ok(needed >= 4, `${needed} narinfos`);
  const second = await runOurs(nix, 'nix-build', plan);
  assert.equal(server.count(), 0);
  const stock = await nix.try('nix-build', plan);
  assert.equal(server.count(), 0, 'Nix reads what we wrote');
  assert.deepEqual([second.stderr, first.stderr], [stock.stderr, stock.stderr]);

  await rm(nix.scratch.join('cache/nix'), { recursive: true });
  await nix.run('nix-build', plan);
  assert.equal(server.count(), needed);
  assert.equal(await ours(nix, 'nix-build', build), top);
  assert.equal(server.count(), 0, 'we read what Nix wrote');
  await nix.run('nix-store', ['--verify-path', top]);

  await nix.run('nix-store', ['--gc']);
  const asking = ['--narinfo-cache-positive-ttl', '0', '--narinfo-cache-negative-ttl', '0'];
  await runOurs(nix, 'nix-build', [...plan, ...asking]);
  assert.equal(server.count(), needed, 'unless the settings say to ask');
});

test('an output whose references a cache lacks is fetched once these were built', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { directory, build, top, leaf } = await fillCache(nix);
  await rm(`${directory}/${leaf.slice(nix.storeDir.path.length + 1).slice(0, 32)}.narinfo`);
  const args = [...build, '--substituters', `file://${directory}`, '--no-require-sigs'];
  const stock = await nix.try('nix-build', args);
  await nix.run('nix-store', ['--gc']);
  const got = await runOurs(nix, 'nix-build', args);
  assert.equal(got.status, 0, got.stderr);
  assert.equal(got.stdout.toString(), `${top}\n`);
  const done = (stderr: string) => stderr.match(/^(building|copying path) '[^']+'/gm)?.sort() ?? [];
  assert.ok(
    done(stock.stderr).some((line) => /^building .*-leaf\.drv'$/.test(line)),
    stock.stderr,
  );
  assert.deepEqual(done(got.stderr), done(stock.stderr));
  assert.ok(got.stderr.includes(`don't know how to build these paths:\n  ${leaf}\n`), got.stderr);
});
