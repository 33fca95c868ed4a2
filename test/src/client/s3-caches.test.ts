import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { GetObjectCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { storePathHashPart } from '@larder/signing/store-path';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { openBucket } from '../engines/s3.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { assertStoreIsSound } from './store-checks.js';

/** More than an object that is put whole. */
const largeSize = 20 * 1024 * 1024;

for (const prefix of ['', '/some/prefix']) {
  test(`a closure goes into a bucket${prefix && ' below a prefix'} in Nix's layout, and comes out as it went in`, async (t) => {
    if (!needsComponent(t, 'nix') || !needsComponent(t, 's3')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using bucket = await openBucket();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 's3', paths: 6 });
    const paths = [...(await importClosure(nix, objects))];
    await mkdir(nix.scratch.join('large'));
    await writeFile(nix.scratch.join('large/file'), randomBytes(largeSize));
    paths.push(...(await nix.add(nix.scratch.join('large'))));

    const { host } = new URL(bucket.endpoint);
    const uri = `s3://${bucket.bucket}${prefix}?endpoint=${host}&scheme=http&region=${bucket.region}`;
    const env = {
      ...larder.env,
      AWS_ACCESS_KEY_ID: bucket.accessKeyId,
      AWS_SECRET_ACCESS_KEY: bucket.secretAccessKey,
    };
    await larder.run(['copy', '--from', `local?root=${nix.root}`, '--to', uri, ...paths], { env });

    const { client } = bucket;
    const Bucket = bucket.bucket;
    const Key = `${prefix.slice(1)}${prefix && '/'}${storePathHashPart(objects[0]!.storePath)}.narinfo`;
    const narInfo = await (
      await client.send(new GetObjectCommand({ Bucket, Key }))
    ).Body!.transformToString();
    assert.match(narInfo, /^StorePath: \/nix\/store\//);
    const left = await client.send(new ListMultipartUploadsCommand({ Bucket }));
    assert.equal(left.Uploads?.length ?? 0, 0);

    const root = larder.scratch.join('store');
    await larder.run(['copy', '--no-require-sigs', '--from', uri, '--to', `local?root=${root}`, ...paths], {
      env,
    });
    await assertStoreIsSound(nix, root, paths);
    const again = await larder.try(['copy', '--from', `local?root=${nix.root}`, '--to', uri, ...paths], {
      env,
    });
    assert.match(again.stderr, /everything is there/);
    const nothing = await larder.try(['path-info', '--store', uri, `/nix/store/${'0'.repeat(32)}-nothing`], {
      env,
    });
    assert.equal(nothing.status, 1);
    assert.match(nothing.stderr, /does not have/);
    const refused = await larder.try(['path-info', '--store', uri, paths[0]!], {
      env: { ...env, AWS_SECRET_ACCESS_KEY: 'wrong' },
    });
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /SignatureDoesNotMatch|cannot read/);
  });
}
