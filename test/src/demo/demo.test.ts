import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';

/** The path at the top of the demo's closure: the same every time. */
const profile = '/nix/store/8vzr76jvvgpfsakd04bk2jfxl5pibi1z-profile';

const script = `const { main } = await import(${JSON.stringify(new URL('./demo.js', import.meta.url).href)});
  process.exitCode = await main(process.argv.slice(1));`;
const command = ['--input-type=module', '-e', script, '--'];

test('the demo ends with exit code 0 when asked to, and can be short', async () => {
  const { status, stdout, stderr } = await tryProgram(process.execPath, [...command, '--once', '--short']);
  assert.equal(status, 0, stderr);
  assert.equal(stdout.toString().match(/✓ refused/g)?.length, 2);
});

test('the demo refuses what was tampered with, goes on to a whole system, stays up, and its three lines of nix.conf make stock Nix fetch from it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const demo = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(demo, 'exit');
  try {
    let output = '';
    for await (const chunk of demo.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      output += chunk as string;
      if (output.includes('Ctrl-C')) break;
    }
    const told = output.slice(output.indexOf('These lines of nix.conf'));
    const lines = [...told.matchAll(/^ +(\S+) = (.+)$/gm)].map(([, key, value]) => [key, value]);
    assert.equal(lines.length, 3);
    assert.equal(output.match(/✓ refused/g)?.length, 2);
    assert.match(output, /^ +(→ rolled back in|Left out here: )/m);
    await using nix = await Nix.create({ settings: Object.fromEntries(lines) as Record<string, string> });
    await nix.run('nix-store', ['--realise', profile]);
    const { status, stderr } = await nix.try('nix-store', ['--verify', '--check-contents']);
    assert.equal(status, 0, stderr);
    const closure = await nix.run('nix-store', ['--query', '--requisites', profile]);
    assert.equal(closure.split('\n').length, 3);
  } finally {
    demo.kill('SIGINT');
  }
  assert.deepEqual(await ended, [0, null]);
});
