import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { WireReader, WireWriter } from '@larder/substituter/daemon/wire';
import { needsComponent } from '../engines/components.js';
import { larder } from '../oracle/larder.js';
import { Nix } from '../oracle/nix.js';

const clientMagic = 0x6e697863;
const daemonMagic = 0x6478696f;
const last = 0x616c7473;

/** What a daemon says of itself. */
interface Greeting {
  readonly major?: number;
  readonly minor: number;
  readonly features?: readonly string[];
}

/**
 * A daemon of another version in front of one that is there: it shakes hands as the other would (`worker-protocol.hh` of Nix
 * 2.4 to 2.35) and hands all that follows on, which is the same between them for the requests that are made here.
 */
async function startOtherDaemon(
  socketPath: string,
  real: string,
  greeting: Greeting,
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(real);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    relay(near, far, greeting).catch(() => {
      near.destroy();
      far.destroy();
    });
  });
  await rm(socketPath, { force: true });
  server.listen(socketPath);
  await once(server, 'listening');
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function relay(near: Socket, far: Socket, greeting: Greeting): Promise<void> {
  const client = new WireReader(near);
  const daemon = new WireReader(far);
  await Promise.all([greetClient(client, near, greeting), greetDaemon(daemon, far)]);
  await Promise.all([handOn(client, far), handOn(daemon, near)]);
}

async function greetClient(
  client: WireReader,
  near: Socket,
  { major = 1, minor, features = [] }: Greeting,
): Promise<void> {
  assert.equal(await client.number(), clientMagic);
  near.write(
    new WireWriter()
      .number(daemonMagic)
      .number((major << 8) | minor)
      .finish(),
  );
  const version = Math.min((await client.number()) & 0xff, minor);
  if (version >= 38) {
    await client.strings();
    near.write(new WireWriter().strings(features).finish());
  }
  await client.number();
  await client.number();
  const answer = new WireWriter();
  if (version >= 33) answer.string('2.x');
  if (version >= 35) answer.number(1);
  near.write(answer.number(last).finish());
}

async function greetDaemon(daemon: WireReader, far: Socket): Promise<void> {
  far.write(
    new WireWriter()
      .number(clientMagic)
      .number((1 << 8) | 32)
      .number(0)
      .number(0)
      .finish(),
  );
  assert.equal(await daemon.number(), daemonMagic);
  await daemon.number();
  assert.equal(await daemon.number(), last);
}

async function handOn(from: WireReader, to: Socket): Promise<void> {
  try {
    for (;;) to.write(await from.chunk());
  } catch {
    to.end();
  }
}

test("daemons of Nix's older and newer versions are spoken to in theirs", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await using daemon = await nix.startDaemon();
  const socket = nix.scratch.join('other.socket');
  const store = `unix://${socket}`;
  for (const greeting of [
    { minor: 32 },
    { minor: 35 },
    { minor: 38 },
    { minor: 39, features: ['realisation-with-path-not-hash', 'one-to-come'] },
  ]) {
    await using _ = await startOtherDaemon(socket, daemon.socket, greeting);
    const name = `for-${greeting.minor}`;
    await writeFile(nix.scratch.join(name), name);
    const path = await nix.run('nix-store', ['--add', nix.scratch.join(name)]);
    const cache = `file://${nix.scratch.join(`cache-${greeting.minor}`)}`;
    await nix.run('nix', ['copy', '--to', cache, path]);
    await nix.run('nix-store', ['--delete', path]);
    const run = async (args: readonly string[]) => {
      const { status, stdout, stderr } = await larder(args, { env: nix.environment });
      assert.equal(status, 0, `1.${greeting.minor}: ${stderr}`);
      return stdout.toString();
    };
    await run(['copy', '--from', cache, '--to', store, path]);
    await nix.run('nix-store', ['--verify-path', path]);
    assert.match(await run(['store', 'query', '--hash', '--store', store, path]), /^sha256:/);
    await run(['verify', '--no-trust', '--store', store, path]);
  }
  await using _ = await startOtherDaemon(socket, daemon.socket, { minor: 31 });
  const old = await larder(['store', 'query', '--all', '--store', store], { env: nix.environment });
  assert.equal(old.status, 1);
  assert.match(old.stderr, /speaks version 1\.31; Nix 2\.4 or newer is needed/);
});

test('a daemon of another major version is refused by name', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await using daemon = await nix.startDaemon();
  const socket = nix.scratch.join('other.socket');
  await using _ = await startOtherDaemon(socket, daemon.socket, { major: 2, minor: 1 });
  const { status, stderr } = await larder(['store', 'query', '--all', '--store', `unix://${socket}`], {
    env: nix.environment,
  });
  assert.equal(status, 1);
  assert.match(stderr, /major version 2/);
});
