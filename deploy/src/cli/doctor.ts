import { loadSettings } from '@larder/substituter/config';
import type { Command } from 'commander';
import { examineCache } from '../setup/examine-cache.js';
import { examineMachine } from '../setup/examine-machine.js';
import type { Finding } from '../setup/finding.js';
import { createVerb } from './command.js';

interface DoctorOptions {
  readonly json?: true;
}

export function createCommand(): Command {
  return createVerb('doctor', {
    summary:
      'Look for what is wrong with the set-up: the configuration, and each cache in it (or those named): is it there, does it ' +
      'let us in, are its keys trusted. Each finding comes with what to do; the exit status is 1 if something fails.',
    examples: [
      ['larder doctor', 'all caches of nix.conf'],
      ['larder doctor https://cache.example.org/main', 'why is nothing fetched from there?'],
    ],
  })
    .argument('[cache...]', 'only these')
    .option('--json', 'print JSON')
    .action(runDoctor);
}

async function runDoctor(named: string[], { json }: DoctorOptions): Promise<void> {
  const settings = loadSettings();
  const caches = named.length > 0 ? named : settings.get('substituters');
  const examined = await Promise.all(caches.map((cache) => examineCache(cache, settings)));
  const findings = [...(await examineMachine(settings)), ...examined.flat()];
  process.stdout.write(
    json === true ? `${JSON.stringify(findings, undefined, 2)}\n` : findings.map(line).join(''),
  );
  if (findings.some(({ level }) => level === 'failed')) process.exitCode = 1;
}

const MARKS: Readonly<Record<Finding['level'], string>> = {
  ok: 'ok     ',
  warning: 'warning',
  failed: 'FAILED ',
};

function line({ level, text, remedy }: Finding): string {
  return `${MARKS[level]}  ${text}\n${remedy === undefined ? '' : `         → ${remedy}\n`}`;
}
