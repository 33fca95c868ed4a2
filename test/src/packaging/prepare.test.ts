import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { generateToken } from '@larder/cache-server/auth/token';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';

test('a deployment is prepared once, and its replicas take the token they were given', async (t) => {
  if (!needsComponent(t, 's3') || !needsComponent(t, 'postgresql')) return;
  await using bucket = await openBucket();
  await using database = await openDatabase();
  await using larder = await Larder.create();
  const token = generateToken();
  await writeFile(larder.scratch.join('token'), `${token}\n`);
  await writeFile(larder.scratch.join('seal'), randomBytes(32).toString('base64'));
  const config = larder.scratch.join('larder.toml');
  await writeFile(
    config,
    `
admin_token_file = "${larder.scratch.join('token')}"
[storage]
engine = "s3"
bucket = "${bucket.bucket}-new"
endpoint = "${bucket.endpoint}"
access_key_id = "${bucket.accessKeyId}"
secret_access_key = "${bucket.secretAccessKey}"
[database]
engine = "postgresql"
url = "${database.url}"
[keys]
seal_key_file = "${larder.scratch.join('seal')}"
`,
  );
  const prepare = ['admin', 'prepare', '--config', config, '--data', larder.scratch.join('job')];
  const without = await larder.try(prepare);
  assert.equal(without.status, 1);
  assert.match(without.stderr, /the bucket|NoSuchBucket/);
  assert.equal(await larder.run([...prepare, '--create-bucket']), 'made cache main\nready to serve');
  assert.equal(await larder.run([...prepare, '--create-bucket']), 'ready to serve');

  // A pod's data directory is empty when it starts.
  await rm(larder.scratch.join('job'), { recursive: true });
  const args = ['--config', config];
  await using first = await LarderServer.start(larder, { data: larder.scratch.join('first'), args });
  await using second = await LarderServer.start(larder, { data: larder.scratch.join('second'), args });
  for (const { url } of [first, second]) {
    const answer = await fetch(`${url}/api/v1/tokens`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 200);
  }
});

test('an admin token that can be guessed, or is not there, is refused', async () => {
  await using larder = await Larder.create();
  const config = larder.scratch.join('larder.toml');
  const file = larder.scratch.join('token');
  await writeFile(config, `admin_token_file = "${file}"\n`);
  const prepare = ['admin', 'prepare', '--config', config, '--data', larder.scratch.join('data')];
  assert.match((await larder.try(prepare)).stderr, /cannot read the admin token.*ENOENT/s);
  await writeFile(file, 'password');
  assert.match((await larder.try(prepare)).stderr, /at least 20 characters/);
});
