import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { componentCommand, needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { tryProgram } from '../oracle/program.js';
import { packaged } from './packaging.js';

/** Of 100: systemd's own services are between 20 and 96. */
const MOST_EXPOSED = 15;

for (const name of ['larder.service', 'larder-proxy.service'])
  test(`systemd takes ${name}, and finds little of the machine exposed`, async (t) => {
    if (!needsComponent(t, 'systemd')) return;
    await using scratch = await makeScratch('systemd');
    const unit = scratch.join(name);
    const text = await readFile(packaged(`systemd/${name}`), 'utf8');
    // Whether programs are where the unit says is for the machine it is installed on.
    await writeFile(unit, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const analyze = componentCommand('systemd', 'systemd-analyze');
    const verified = await tryProgram(analyze, ['verify', '--man=no', unit]);
    assert.equal(verified.status, 0, verified.stderr);
    assert.equal(verified.stderr, '');
    const judged = await tryProgram(analyze, [
      'security',
      '--offline=true',
      `--threshold=${MOST_EXPOSED}`,
      '--no-pager',
      unit,
    ]);
    assert.equal(judged.status, 0, judged.stdout.toString());

    await writeFile(unit, `${text}\nProtectSytem=strict\n`);
    const misspelt = await tryProgram(analyze, ['verify', '--man=no', unit]);
    assert.match(misspelt.stderr, /Unknown key/, 'the check finds mistakes');
  });
