import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tryProgram } from '../oracle/program.js';
import { TestServer } from './running.js';

const executable = fileURLToPath(import.meta.resolve('@larder/deploy/cli/main'));

test('larder cache and larder token administer a server', async (t) => {
  await using server = await TestServer.start();
  const env = {
    PATH: process.env.PATH ?? '',
    LARDER_SERVER: server.url,
    LARDER_TOKEN_FILE: server.scratch.join('data/admin-token'),
  };
  const larder = (...args: string[]) => tryProgram(process.execPath, [executable, ...args], { env });
  const ok = async (...args: string[]) => {
    const { status, stdout, stderr } = await larder(...args);
    assert.equal(status, 0, `larder ${args.join(' ')}: ${stderr}`);
    return stdout.toString();
  };

  await t.test('a cache from making to deleting', async () => {
    assert.match(
      await ok('cache', 'create', 'team-a', '--priority', '7'),
      /team-a {2}private, priority 7\n {2}team-a-1:/,
    );
    assert.match(await ok('cache', 'configure', 'team-a', '--public'), /public, priority 7/);
    assert.match(await ok('cache', 'key', 'add', 'team-a'), /team-a-1:.*team-a-2:/s);
    await ok('cache', 'key', 'retire', 'team-a', 'team-a-1');
    const listed = JSON.parse(await ok('cache', 'list', '--json')) as { name: string }[];
    assert.deepEqual(
      listed.map(({ name }) => name),
      ['main', 'team-a'],
    );
    assert.equal((await larder('cache', 'delete', 'team-a')).status, 2);
    await ok('cache', 'delete', 'team-a', '--yes');
    const again = await larder('cache', 'delete', 'team-a', '--yes');
    assert.equal(again.status, 1);
    assert.match(again.stderr, /there is no cache 'team-a'/);
  });

  await t.test('a token from making to revoking', async () => {
    const text = (
      await ok('token', 'create', 'ci', '--cache', 'main', '--scope', 'pull,push', '--expires', '90d')
    ).trim();
    const ask = () => fetch(`${server.url}/api/v1/caches`, { headers: { authorization: `Bearer ${text}` } });
    assert.equal((await ask()).status, 200);
    const [, id] = /^(\d+) {2}ci {2}pull,push on main {2}expires /m.exec(await ok('token', 'list')) ?? [];
    await ok('token', 'revoke', id ?? '');
    assert.equal((await ask()).status, 401);
    assert.equal((await larder('token', 'create', 'x', '--scope', 'root')).status, 2);
    assert.equal((await larder('token', 'create', 'x', '--expires', 'soon')).status, 2);
  });

  await t.test('without a server, or with a token that may not', async () => {
    const alone = await tryProgram(process.execPath, [executable, 'token', 'list'], {
      env: { PATH: env.PATH },
    });
    assert.equal(alone.status, 2);
    assert.match(alone.stderr, /--server URL/);
    const { LARDER_TOKEN_FILE: _, ...anonymous } = env;
    const denied = await tryProgram(process.execPath, [executable, 'token', 'list'], { env: anonymous });
    assert.equal(denied.status, 1);
    assert.match(denied.stderr, /a token is needed/);
  });
});
