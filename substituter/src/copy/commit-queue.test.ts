import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computeHash } from '@larder/signing/hash';
import type { PathInfo } from '@larder/signing/path-info';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import { CommitQueue } from './commit-queue.js';

const path = (letter: string): StorePath => parseStorePath(`${letter.repeat(32)}-${letter}`);

function info(letter: string, ...references: string[]): PathInfo {
  const hash = computeHash('sha256', letter);
  return {
    storePath: path(letter),
    narHash: hash,
    narSize: 1,
    references: references.map(path),
    signatures: [],
  };
}

/** c refers to b, b to a; all to themselves. */
const plan = [info('a', 'a'), info('b', 'a', 'b'), info('c', 'b', 'c')];

function record(): { commits: string[]; queue: CommitQueue } {
  const commits: string[] = [];
  const queue = new CommitQueue(plan, async (infos) => {
    commits.push(infos.map(({ storePath }) => storePath.slice(33)).join(''));
  });
  return { commits, queue };
}

test('what comes in out of order is committed with references first', async () => {
  const { commits, queue } = record();
  queue.noteReceived(plan[2]!);
  queue.noteReceived(plan[1]!);
  await queue.drain();
  assert.deepEqual(commits, []);
  queue.noteReceived(plan[0]!);
  await queue.drain();
  assert.deepEqual(commits, ['abc']);
  assert.deepEqual(queue.uncommitted(), []);
});

test('a path that somebody else committed frees those that refer to it', async () => {
  const { commits, queue } = record();
  queue.noteReceived(plan[1]!);
  queue.notePresent(plan[0]!);
  await queue.drain();
  assert.deepEqual(commits, ['b']);
});

test('what cannot be committed is told', async () => {
  const { queue } = record();
  queue.noteReceived(plan[2]!);
  await queue.drain();
  assert.deepEqual(queue.uncommitted(), [path('c')]);
});

test('a commit that fails is reported, and its paths count as uncommitted', async () => {
  const queue = new CommitQueue(plan, async () => {
    throw new Error('disk full');
  });
  queue.noteReceived(plan[0]!);
  await assert.rejects(queue.drain(), /disk full/);
  assert.deepEqual(queue.uncommitted(), [path('a')]);
});
