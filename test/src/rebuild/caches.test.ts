import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { test } from 'node:test';
import { runProgram } from '../oracle/program.js';
import { Machine, needsExample } from './machine.js';
import { cacheSettings, publishSystem } from './signed-cache.js';

/** Serves a directory; from the `limit`-th NAR on every connection is cut. */
async function serve(directory: string, limit: number): Promise<{ server: Server; url: string }> {
  let nars = 0;
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (path.startsWith('/nar/')) nars++;
    if (nars > limit) {
      response.destroy();
      return;
    }
    createReadStream(`${directory}${path}`)
      .once('error', () => response.writeHead(404).end())
      .pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP server has a port');
  return { server, url: `http://127.0.0.1:${address.port}` };
}

function options(url: string, publicKey: string): string[] {
  return [...cacheSettings(url, publicKey), '--no-out-link'];
}

test('a system comes from a cache whole, or is built where the cache fails', async (t) => {
  if (!needsExample(t)) return;
  await using origin = await Machine.prepare();
  const { directory, publicKey, system } = await publishSystem(origin);

  await t.test('with the closure in a cache, everything is fetched and nothing built', async () => {
    await using machine = await Machine.create();
    const { status, stdout, stderr } = await machine.tryRebuild(
      'build',
      ...options(`file://${directory}`, publicKey),
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.toString().trim(), system);
    assert.match(stderr, /^To fetch: \d+ paths \(.* to download, .* unpacked\)$/m);
    assert.doesNotMatch(stderr, /To build|^building/m);
  });

  await t.test('without the key, nothing of it is taken', async () => {
    await using machine = await Machine.create();
    const args = ['build', '--option', 'substituters', `file://${directory}`, '--no-out-link'];
    const { status, stdout, stderr } = await machine.tryRebuild(...args);
    assert.equal(status, 0, stderr);
    assert.equal(stdout.toString().trim(), system);
    assert.match(stderr, /^building/m);
  });

  await t.test('a cache that dies midway: what is missing is built', async () => {
    await using machine = await Machine.create();
    const { server, url } = await serve(directory, 6);
    try {
      const retries = ['--option', 'download-attempts', '1'];
      const { status, stdout, stderr } = await machine.tryRebuild(
        'build',
        ...options(url, publicKey),
        ...retries,
      );
      assert.equal(status, 0, stderr);
      assert.equal(stdout.toString().trim(), system);
      assert.match(stderr, /^building/m);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    await verify(machine);
  });

  await t.test('a tampered archive is refused and the package built', async () => {
    const nar = await narOf(directory, 'sw');
    const bytes = await readFile(nar);
    bytes[bytes.length >> 1]! ^= 0xff;
    await writeFile(nar, bytes);
    await using machine = await Machine.create();
    const { status, stdout, stderr } = await machine.tryRebuild(
      'build',
      ...options(`file://${directory}`, publicKey),
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.toString().trim(), system);
    assert.match(stderr, /building '.*-sw\.drv'/);
    await verify(machine);
  });
});

async function verify({ root, env }: Machine): Promise<void> {
  await runProgram('nix-store', ['--verify', '--check-contents', '--store', root], { env });
}

/** The file that a package's narinfo names. */
async function narOf(directory: string, name: string): Promise<string> {
  for (const file of await readdir(directory)) {
    if (!file.endsWith('.narinfo')) continue;
    const text = await readFile(`${directory}/${file}`, 'utf8');
    if (new RegExp(`^StorePath: .*/[0-9a-z]{32}-${name}$`, 'm').test(text))
      return `${directory}/${/^URL: (\S+)$/m.exec(text)![1]}`;
  }
  throw new Error(`no ${name} in ${directory}`);
}
