import { type BootEntry, type BootMenu, formatDate } from './boot-entry.js';

/** Entries of ours in `loader/entries` are called so; others are left alone. */
export function isOwnEntryName(name: string): boolean {
  return /^larder-.*\.conf$/.test(name);
}

export function entryName({ id }: BootEntry): string {
  return `larder-${id}.conf`;
}

/**
 * One file of `loader/entries`, by the Boot Loader Specification, type 1. `sort-key` and `version` make the
 * newest generation come first.
 */
export function formatLoaderEntry(entry: BootEntry): string {
  const lines = [
    `title ${oneLine(entry.title)}`,
    `version Generation ${entry.generation}, ${formatDate(entry.date)}`,
    `sort-key larder-${entry.profile === 'system' ? '0' : `1-${entry.profile}`}`,
    `linux ${entry.kernel}`,
    ...(entry.initrd === undefined ? [] : [`initrd ${entry.initrd}`]),
    `options ${entry.parameters.map(oneLine).join(' ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** `loader/loader.conf`. */
export function formatLoaderConf({ entries, defaultId, wish }: BootMenu): string {
  const chosen = entries.find(({ id }) => id === defaultId);
  const lines = [
    `timeout ${wish.timeout}`,
    ...(chosen === undefined ? [] : [`default ${entryName(chosen)}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, ' ');
}
