import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { launcherProgram, noAddressRandomization } from './launcher.js';

const program = launcherProgram(noAddressRandomization);

test('the launcher becomes its first argument, under a name of choice', {
  skip: program === undefined,
}, () => {
  const directory = mkdtempSync(`${tmpdir()}/larder-launcher-`);
  try {
    const file = `${directory}/launcher`;
    writeFileSync(file, program!, { mode: 0o755 });
    const script =
      'tr "\\0" " " < /proc/$$/cmdline; cat /proc/self/personality; ulimit -Sc; ls /proc/self/fd | wc -l; echo "$X"';
    const out = execFileSync(file, ['/bin/sh', 'named', '-c', script], {
      env: { X: 'passed on', PATH: '/usr/bin:/bin' },
      stdio: ['ignore', 'pipe', 'inherit', 'inherit', 'inherit'],
    });
    const lines = out
      .toString()
      .replace(/^named .*?(?=\d{8})/s, 'named ')
      .split('\n');
    assert.deepEqual(lines, ['named 00040000', '0', '4', 'passed on', '']);
    const failed = spawnSync(file, ['/no/such/program', 'x']);
    assert.equal(failed.status, 127);
    assert.match(failed.stderr.toString(), /cannot be executed/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
