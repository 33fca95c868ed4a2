import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fitsMachine, parseMachines } from './build-machine.js';

const options = { system: 'x86_64-linux', origin: 'nix.conf:1' };

test('machines are read as Nix reads them', () => {
  const directory = mkdtempSync(`${tmpdir()}/larder-machines-`);
  try {
    const file = `${directory}/machines`;
    writeFileSync(file, '# old\nssh://old - - 3 # three\n\n@/nowhere/machines\n');
    const machines = parseMachines(
      `ssh-ng://me@big x86_64-linux,i686-linux /key 8 2 kvm,big bench AAAA=;plain ;  @${file}`,
      options,
    );
    assert.deepEqual(machines, [
      {
        name: 'ssh-ng://me@big',
        uri: 'ssh-ng://me@big?ssh-key=%2Fkey&base64-ssh-public-host-key=AAAA%3D&max-connections=9',
        systems: new Set(['x86_64-linux', 'i686-linux']),
        maxJobs: 8,
        speed: 2,
        features: new Set(['kvm', 'big']),
        mandatoryFeatures: new Set(['bench']),
      },
      simple('ssh://plain', 'ssh-ng://plain?max-connections=2', 1),
      simple('ssh://old', 'ssh-ng://old?max-connections=4', 3),
    ]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

function simple(name: string, uri: string, maxJobs: number) {
  const none = new Set<string>();
  return {
    ...{ name, uri, maxJobs, speed: 1, systems: new Set(['x86_64-linux']) },
    ...{ features: none, mandatoryFeatures: none },
  };
}

test('what is no machine is refused with its place', () => {
  for (const text of ['https://host', 'ssh-ng://host - - many', 'ssh-ng://host - - 1 fast', '- x86_64-linux'])
    assert.throws(() => parseMachines(text, options), { code: 'config-invalid', message: /^nix\.conf:1: / });
});

test('a machine must have all that is required, and be asked for what it insists on', () => {
  const [machine] = parseMachines('ssh-ng://h a-b,c-d - 1 1 x,y z', options);
  const fits = (system: string, ...features: string[]) => fitsMachine(machine!, { system, features });
  assert.deepEqual(
    [fits('a-b', 'z'), fits('c-d', 'x', 'z'), fits('a-b', 'x'), fits('a-b', 'z', 'w'), fits('e-f', 'z')],
    [true, true, false, false, false],
  );
});
