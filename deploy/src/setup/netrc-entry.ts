import { readIfPresent, replaceFile } from './setup-files.js';

/** The user name by which our entries are known; the server does not look at it. */
const LOGIN = 'larder';

function entryOf(host: string): RegExp {
  return new RegExp(`^machine ${host.replace(/[.\\[\]]/g, '\\$&')} login ${LOGIN} password \\S+\\n`, 'gm');
}

/**
 * Puts a token into a netrc file, one entry a host, before all others: the first entry for a host is the one that counts.
 * What the file has otherwise stays as it is.
 */
export async function addNetrcEntry(file: string, host: string, token: string): Promise<void> {
  const text = await readIfPresent(file);
  const rest = text.replace(entryOf(host), '');
  await replaceFile(file, `machine ${host} login ${LOGIN} password ${token}\n${rest}`, 0o600);
}

/** Takes our entry for that host out. @returns whether there was one, and whether any of ours are left */
export async function removeNetrcEntry(
  file: string,
  host: string,
): Promise<{ readonly removed: boolean; readonly isEmpty: boolean }> {
  const text = await readIfPresent(file);
  const rest = text.replace(entryOf(host), '');
  if (rest !== text) await replaceFile(file, rest, 0o600);
  return { removed: rest !== text, isEmpty: rest.trim() === '' };
}
