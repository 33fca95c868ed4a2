import type { BootEntry, BootMenu } from './boot-entry.js';

/**
 * GRUB's configuration, `grub.cfg`: the default by its id, so it holds whatever the order of the menu.
 * `--one-time` choices made with `grub-reboot` work, as in the configurations that `grub-mkconfig` writes.
 */
export function formatGrubMenu({ entries, defaultId, wish }: BootMenu): string {
  const [own, others] = [
    entries.filter(({ profile }) => profile === 'system'),
    entries.filter(({ profile }) => profile !== 'system'),
  ];
  const parts = [
    '# Written by larder: every switch writes it again.',
    'if [ -s $prefix/grubenv ]; then load_env; fi',
    `set default=${quote(defaultPath(entries, defaultId))}`,
    'if [ "$next_entry" ]; then',
    '  set default="$next_entry"',
    '  set next_entry=',
    '  save_env next_entry',
    'fi',
    `set timeout=${wish.timeout}`,
    '',
    ...own.map((entry) => formatEntry(entry, '')),
    ...[...new Set(others.map(({ profile }) => profile))].map((profile) => {
      const inner = others.filter((entry) => entry.profile === profile);
      const head = `submenu ${quote(`Profile ${profile}`)} --id ${quote(`profile-${profile}`)} {`;
      return `${head}\n${inner.map((entry) => formatEntry(entry, '  ')).join('')}}\n`;
    }),
  ];
  return `${parts.join('\n')}\n`;
}

/** An entry in a submenu is named by both, with `>` between. */
function defaultPath(entries: readonly BootEntry[], id: string): string {
  const profile = entries.find((entry) => entry.id === id)?.profile ?? 'system';
  return profile === 'system' ? id : `profile-${profile}>${id}`;
}

function formatEntry(entry: BootEntry, indent: string): string {
  const lines = [
    `menuentry ${quote(entry.title)} --id ${quote(entry.id)} {`,
    // The disk is found by what is on it: its number may be another one at the next start.
    `  search --no-floppy --file --set=root ${quote(entry.kernel)}`,
    `  linux ${[entry.kernel, ...entry.parameters].map(quote).join(' ')}`,
    ...(entry.initrd === undefined ? [] : [`  initrd ${quote(entry.initrd)}`]),
    '}',
  ];
  return lines.map((line) => `${indent}${line}\n`).join('');
}

/** A word of GRUB's shell: bare where nothing in it means anything, single-quoted otherwise. */
function quote(word: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
