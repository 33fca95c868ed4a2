import { basename } from 'node:path';
import { readIfPresent, replaceFile, type SetupPlace } from './setup-files.js';

/** A cache that `larder use` set up. */
export interface UsedCache {
  readonly url: string;
  /** `name:base64` each. */
  readonly publicKeys: readonly string[];
}

const HEAD =
  "# Written by 'larder use' and 'larder login'; 'larder use --undo' and 'larder logout' take it back.";

/** What `larder.conf` says: nix.conf(5) syntax, every line of it ours. */
export interface LarderConf {
  readonly caches: readonly UsedCache[];
  readonly netrc?: string;
}

export function parseLarderConf(text: string): LarderConf {
  const caches: UsedCache[] = [];
  let netrc: string | undefined;
  let url: string | undefined;
  for (const line of text.split('\n')) {
    const [, name, value = ''] = /^([\w-]+) = (.*)$/.exec(line) ?? [];
    if (name === 'netrc-file') netrc = value;
    else if (name === 'extra-substituters') url = value;
    else if (name === 'extra-trusted-public-keys' && url !== undefined)
      caches.push({ url, publicKeys: value.split(' ').filter((key) => key !== '') });
  }
  return { caches, ...(netrc === undefined ? {} : { netrc }) };
}

export function formatLarderConf({ caches, netrc }: LarderConf): string {
  if (caches.length === 0 && netrc === undefined) return '';
  const lines = caches.flatMap(({ url, publicKeys }) => [
    `extra-substituters = ${url}`,
    `extra-trusted-public-keys = ${publicKeys.join(' ')}`,
  ]);
  return [HEAD, ...(netrc === undefined ? [] : [`netrc-file = ${netrc}`]), ...lines, ''].join('\n');
}

/**
 * Changes `larder.conf`, and sees to it that `nix.conf` includes it while there is something in it: at its end, where nothing
 * that comes later overrides what is added. Everything else in `nix.conf` stays as it is.
 * @returns whether anything changed
 */
export async function changeLarderConf(
  place: SetupPlace,
  change: (conf: LarderConf) => LarderConf,
): Promise<boolean> {
  const before = await readIfPresent(place.larderConf);
  const after = formatLarderConf(change(parseLarderConf(before)));
  const nixConf = await readIfPresent(place.nixConf);
  const included = includeIn(nixConf, `!include ${basename(place.larderConf)}`, after !== '');
  // The file first: an include line never names what is not there, and Nix takes a missing one all the same.
  if (after !== before) await replaceFile(place.larderConf, after, 0o644);
  if (included !== nixConf) await replaceFile(place.nixConf, included, 0o644);
  return after !== before || included !== nixConf;
}

function includeIn(text: string, line: string, wanted: boolean): string {
  const lines = text.split('\n');
  if (wanted && lines.includes(line)) return text;
  const kept = lines.filter((each) => each !== line).join('\n');
  if (!wanted) return kept;
  return `${kept}${kept === '' || kept.endsWith('\n') ? '' : '\n'}${line}\n`;
}
