import type { NarListing } from '@larder/signing/nar-listing';
import { readNarListing } from '@larder/signing/nar-listing';
import { writeNar } from '@larder/signing/nar-writer';

/** A tree on disk as lines for people: `*` marks executables, arrows show where links lead. */
export async function formatTree(path: string): Promise<string> {
  return formatEntries(await readNarListing(writeNar(path)), '').join('\n');
}

function formatEntries(node: NarListing, indent: string): string[] {
  if (node.type !== 'directory') return [];
  return Object.entries(node.entries).flatMap(([name, entry]) => [
    `${indent}${name}${describe(entry)}`,
    ...formatEntries(entry, `${indent}  `),
  ]);
}

function describe(node: NarListing): string {
  if (node.type === 'directory') return '/';
  if (node.type === 'symlink') return ` → ${node.target}`;
  return `${node.executable === true ? '*' : ''} (${node.size} bytes)`;
}
