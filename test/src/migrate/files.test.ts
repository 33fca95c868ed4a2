import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { SecretKey } from '@larder/signing/key';
import { needsComponent } from '../engines/components.js';
import { startNginx } from '../engines/nginx.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { TestServer } from '../server/running.js';
import { fingerprintOf } from './attic-server.js';
import { hashPartOf, makePaths, runMigrate } from './migrating.js';

const LOG = `${'1'.repeat(32)}-built.drv`;
const REALISATION = `sha256:${'ab'.repeat(32)}!out`;

/** A cache that `nix copy` made, in several compressions, signed by a key of its own. */
async function makeStockCache(nix: Nix) {
  const directory = nix.scratch.join('stock');
  const secret = nix.scratch.join('old-secret');
  const key = SecretKey.generate('old-1');
  await writeFile(secret, key.format());
  const { paths } = await makePaths(nix, { seed: 'stock', paths: 8, bytes: 300_000 });
  const compressions = ['xz', 'zstd', 'bzip2', 'none', 'br', 'gzip'];
  for (const [index, { storePath }] of paths.entries()) {
    const query = `secret-key=${secret}&compression=${compressions[index % compressions.length]}`;
    await nix.run('nix', ['copy', '--to', `file://${directory}?${query}`, storePath]);
  }
  // Where Nix keeps what comes with builds; a realisation in the form of its 2.8.
  await mkdir(join(directory, 'log'), { recursive: true });
  await writeFile(join(directory, 'log', LOG), 'it was built\n');
  await mkdir(join(directory, 'realisations'), { recursive: true });
  const outPath = paths[0]?.storePath.slice('/nix/store/'.length);
  const realisation = { dependentRealisations: {}, id: REALISATION, outPath, signatures: [] };
  await writeFile(join(directory, 'realisations', `${REALISATION}.doi`), JSON.stringify(realisation));
  return {
    directory,
    secret,
    publicKey: key.publicKey().format(),
    paths: paths.map(({ storePath }) => storePath),
  };
}

test('a cache of files is moved from a directory, a bucket and the web', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 's3') || !needsComponent(t, 'nginx')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('files');
  const stock = await makeStockCache(nix);
  const before = await fingerprintOf(stock.directory);
  const ok = async (args: readonly string[], env: Record<string, string> = {}) => {
    const { status, stdout, stderr } = await runMigrate(scratch, ['files', ...args], { env });
    assert.equal(status, 0, stderr + stdout.toString());
    return stdout.toString();
  };

  assert.match(
    await ok([stock.directory, '--cache', 'disk', '--public', '--secret-key-file', stock.secret]),
    /^disk: 8 paths moved, 0 were there, 0 left out, 8 NARs of /,
  );
  assert.match(
    await ok([stock.directory, '--cache', 'disk', '--dry-run']),
    /^disk: 0 paths to move, 8 were there, 0 left out, 0 NARs of /,
  );
  assert.deepEqual(await fingerprintOf(stock.directory), before);

  await using bucket = await openBucket();
  for (const [file] of before) {
    const Key = `a/prefix/${file.slice(stock.directory.length + 1)}`;
    await bucket.client.send(
      new PutObjectCommand({ Bucket: bucket.bucket, Key, Body: await readFile(file) }),
    );
  }
  const uri = `s3://${bucket.bucket}/a/prefix?endpoint=${new URL(bucket.endpoint).host}&scheme=http&region=us-east-1`;
  const env = { AWS_ACCESS_KEY_ID: bucket.accessKeyId, AWS_SECRET_ACCESS_KEY: bucket.secretAccessKey };
  assert.match(await ok([uri, '--cache', 'bucket', '--public'], env), /^bucket: 8 paths moved, /);

  await using nginx = await startNginx(stock.directory);
  const unlisted = await runMigrate(scratch, ['files', nginx.url, '--cache', 'web']);
  assert.equal(unlisted.status, 2);
  assert.match(unlisted.stderr, /cannot be listed: name the paths to move with --paths-from FILE/);
  const list = scratch.join('paths');
  await writeFile(list, `${stock.paths.at(-1)}\n`);
  // The last of a closure reaches all others.
  assert.match(
    await ok([
      nginx.url,
      '--cache',
      'web',
      '--public',
      '--paths-from',
      list,
      '--trusted-public-keys',
      stock.publicKey,
    ]),
    /^web: 8 paths moved, /,
  );

  await using server = await TestServer.start({ scratch });
  for (const cache of ['disk', 'bucket', 'web']) {
    const fetched = await nix.fetchFresh(`${server.url}/${cache}`, stock.publicKey, stock.paths);
    assert.equal(fetched.status, 0, `${cache}: ${fetched.stderr}`);
  }
  for (const cache of ['disk', 'bucket']) {
    assert.equal(await (await server.fetch(`/${cache}/log/${LOG}`)).text(), 'it was built\n');
    const kept = await server.fetch(`/${cache}/realisations/${encodeURIComponent(REALISATION)}.doi`);
    assert.equal(((await kept.json()) as { id: string }).id, REALISATION);
  }
  const { publicKeys } = (await (await server.fetch('/api/v1/caches/disk')).json()) as {
    publicKeys: string[];
  };
  assert.deepEqual(publicKeys, [stock.publicKey]);
});

test('of a cache of files, what is damaged or signed by nobody trusted is left out', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using scratch = await makeScratch('files');
  const { directory, publicKey } = await makeStockCache(nix);
  const alone = scratch.join('alone');
  await mkdir(alone);
  const [unsigned = ''] = await nix.add(alone);
  await nix.run('nix', ['copy', '--to', `file://${directory}`, unsigned]);
  const names = (await readdir(directory)).filter((name) => name.endsWith('.narinfo'));
  const urlOf = async (name: string) =>
    /^URL: (.*)$/m.exec(await readFile(join(directory, name), 'utf8'))?.[1] ?? '';
  const [damaged = '', malformed = ''] = names.filter((name) => !name.startsWith(hashPartOf(unsigned)));
  await appendFile(join(directory, await urlOf(damaged)), 'more');
  await writeFile(join(directory, malformed), 'StorePath: nonsense\n');
  const ran = await runMigrate(scratch, [
    'files',
    directory,
    '--cache',
    'old',
    '--trusted-public-keys',
    publicKey,
    '--json',
  ]);
  assert.equal(ran.status, 1, ran.stderr);
  const { migration } = JSON.parse(ran.stdout.toString()) as {
    migration: { paths: number; published: number; refused: { path: string; why: string }[] };
  };
  const why = (name: string): string =>
    migration.refused.find(({ path }) => path.startsWith(name.slice(0, 32)))?.why ?? '';
  assert.equal(migration.paths, names.length);
  assert.equal(migration.published + migration.refused.length, names.length);
  assert.notEqual(why(damaged), '');
  assert.match(why(malformed), /malformed|nonsense/i);
  // Of the content-addressed, Nix takes anything that proves itself.
  assert.equal(why(hashPartOf(unsigned)), '');
});
