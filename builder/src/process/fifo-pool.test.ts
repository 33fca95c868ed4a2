import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closeQuietly, FifoPool } from './fifo-pool.js';

test('once the pipes are gone, links are followed as before', async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'larder-fifo-test-')));
  try {
    mkdirSync(`${directory}/real`);
    writeFileSync(`${directory}/real/file`, '');
    symlinkSync('real', `${directory}/link`);
    symlinkSync('file', `${directory}/real/other`);
    const pool = new FifoPool(directory);
    const pipe = await pool.take();
    for (const fd of [pipe.readEnd, pipe.writeEnd]) closeQuietly(fd);
    pool.close();
    assert.equal(realpathSync(`${directory}/link/other`), `${directory}/real/file`);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
