import assert from 'node:assert/strict';
import { decompress } from '@larder/signing/codec';
import { parseCompression } from '@larder/signing/compression';
import { hashStream } from '@larder/signing/hash';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { storePathHashPart } from '@larder/signing/store-path';
import { defaultStoreDir } from '../store-dir.js';

/** The narinfo that a cache serves for a hash part, or `undefined`. Fails on any answer but 200 and 404. */
export async function fetchNarInfo(cache: string, hashPart: string): Promise<NarInfo | undefined> {
  const answer = await fetch(`${cache}/${hashPart}.narinfo`);
  const text = await answer.text();
  if (answer.status === 404) return undefined;
  assert.equal(answer.status, 200, text);
  return parseNarInfo(text, defaultStoreDir, `${cache}/${hashPart}.narinfo`);
}

/** Downloads the archive of a path that a cache serves and checks it; its references must be served too. */
export async function assertServedWhole(cache: string, info: NarInfo): Promise<void> {
  const answer = await fetch(`${cache}/${info.url}`);
  assert.equal(answer.status, 200, `${info.url} of ${info.storePath} is not there`);
  assert.ok(answer.body);
  const { hash, size } = await hashStream(
    'sha256',
    decompress(answer.body, parseCompression(info.compression)),
  );
  assert.equal(`${hash}`, `${info.narHash}`, `${info.storePath} is damaged`);
  assert.equal(size, info.narSize);
  for (const reference of info.references) {
    const there = await fetchNarInfo(cache, storePathHashPart(reference));
    assert.ok(there, `${info.storePath} is visible, its reference ${reference} is not`);
  }
}
