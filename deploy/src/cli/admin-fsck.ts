import { type Checked, type Fault, fsck } from '@larder/cache-server/admin/fsck';
import type { Command } from 'commander';
import { addPlaceOptions, type ServerPlace, withFoundation } from './admin-place.js';
import { createVerb } from './command.js';
import { formatBytes } from './units.js';

interface FsckOptions extends ServerPlace {
  readonly deep?: true;
  readonly repair?: true;
  readonly json?: true;
}

/** `larder admin fsck`. */
export function createFsckCommand(): Command {
  const command = createVerb('fsck', {
    summary:
      'Compare storage and database: NARs and narinfos that one has and the other has not, NARs of another size, paths that ' +
      'refer to what is not there. Exits with 1 when something is wrong and stays so. Safe beside a running server.',
    examples: [
      ['larder admin fsck --config /etc/larder.toml', 'look, and change nothing'],
      ['larder admin fsck --config /etc/larder.toml --deep', 'read and hash every NAR as well'],
      [
        'larder admin fsck --config /etc/larder.toml --repair',
        'let go of what is lost, and take in what is sound',
      ],
    ],
  });
  return addPlaceOptions(command)
    .option('--deep', 'hash every NAR, apply every delta, compare every narinfo and what others name')
    .option('--repair', 'make both agree; a path whose NAR is lost goes, with all that refers to it')
    .option('--json', 'print what was found as JSON')
    .action(runFsck);
}

async function runFsck({ deep, repair, json, ...place }: FsckOptions): Promise<void> {
  const results = await withFoundation(place, (foundation) =>
    fsck(foundation, {
      deep: deep === true,
      repair: repair === true,
      onFault: (fault) => {
        if (json !== true) process.stdout.write(describeFault(fault));
      },
    }),
  );
  process.stdout.write(json === true ? `${JSON.stringify(results)}\n` : results.map(describe).join(''));
  if (results.some(({ faults, repaired }) => faults.length > repaired)) process.exitCode = 1;
}

function describeFault({ cache, kind, why }: Fault): string {
  return `${cache}: ${kind}: ${why}\n`;
}

function describe({ cache, paths, nars, bytes, faults, repaired }: Checked): string {
  const found =
    faults.length === 0
      ? 'all is well'
      : `${faults.length} faults${repaired > 0 ? `, ${repaired} repaired` : '; --repair deals with them'}`;
  return `${cache}: ${paths} paths, ${nars} NARs of ${formatBytes(bytes)}: ${found}\n`;
}
