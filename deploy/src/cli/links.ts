import { lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LarderError } from '@larder/signing/errors';
import type { Command } from 'commander';
import { tools } from './classic/tools.js';
import { createVerb } from './command.js';

export function createCommand(): Command {
  return createVerb('links', {
    summary:
      `Make links with the names of Nix's own tools (${Object.keys(tools).join(', ')}) in a directory; ` +
      'with that in front of PATH, scripts use Larder in their place.',
    examples: [
      [
        'larder links ~/larder-bin && PATH=~/larder-bin:$PATH nix-build',
        'build with Larder by the usual name',
      ],
      ['larder links --remove ~/larder-bin', 'take them away again'],
    ],
  })
    .argument('<directory>', 'where to make them; it is made if need be')
    .option('--remove', 'remove the links that are there')
    .action((directory: string, { remove = false }: { remove?: boolean }) => {
      const executable = fileURLToPath(new URL('../../bin/larder.js', import.meta.url));
      mkdirSync(directory, { recursive: true });
      for (const name of Object.keys(tools)) {
        const link = resolve(directory, name);
        if (remove) removeLink(link, executable);
        else makeLink(link, executable);
      }
    });
}

/** Something of another's is never replaced, least of all a Nix. */
function makeLink(link: string, executable: string): void {
  const present = lstatSync(link, { throwIfNoEntry: false });
  if (present !== undefined && !isOurs(link, executable)) {
    throw new LarderError(
      'link-occupied',
      `${link} is something else already: choose another directory, or remove it first`,
    );
  }
  const temporary = `${link}.${process.pid}`;
  symlinkSync(executable, temporary);
  renameSync(temporary, link);
  process.stdout.write(`${link}\n`);
}

function removeLink(link: string, executable: string): void {
  if (!isOurs(link, executable)) return;
  rmSync(link);
  process.stdout.write(`${link}\n`);
}

/** Whether the link leads to this executable, or to that of another copy of Larder. */
function isOurs(link: string, executable: string): boolean {
  if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return false;
  const target = readlinkSync(link);
  return target === executable || target.endsWith('/deploy/bin/larder.js');
}
