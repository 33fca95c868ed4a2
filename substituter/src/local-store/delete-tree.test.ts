import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deleteTree } from './delete-tree.js';

test('a tree goes that somebody still writes to, as the builder of a killed run does', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'larder-delete-')), 'tree');
  mkdirSync(directory);
  for (let at = 0; at < 200; at++) writeFileSync(join(directory, `old-${at}`), '');
  let written = 0;
  const writer = setInterval(() => {
    try {
      writeFileSync(join(directory, `new-${written}`), '');
      written++;
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT');
    }
  }, 1);
  const stop = setTimeout(() => clearInterval(writer), 150);
  try {
    await deleteTree(directory);
  } finally {
    clearTimeout(stop);
    clearInterval(writer);
  }
  assert.ok(written > 0);
  assert.ok(!existsSync(directory));
});
