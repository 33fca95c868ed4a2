import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { toByteText } from '../eval/byte-text.js';
import type { SourceStamp } from '../eval/host.js';
import { stampOf } from '../read-recorder.js';
import { runGit } from './run-git.js';

/*
 * What a fetched tree was made of, so that who remembers the result can tell whether it would be the same again. Stamps
 * are taken before the fetch: a change in between makes the next look differ, and never hides.
 */

/** Everything in a tree. */
export function stampTree(path: string): SourceStamp[] {
  const stamps: SourceStamp[] = [];
  const visit = (at: Buffer): void => {
    const stamp = stampOf(at);
    stamps.push([at.toString('latin1'), stamp]);
    if (!isDirectory(stamp)) return;
    for (const name of readdirSync(at, { encoding: 'buffer' }))
      visit(Buffer.concat([at, Buffer.from('/'), name]));
  };
  visit(Buffer.from(path));
  return stamps;
}

/** The mode is the first number of a stamp. */
function isDirectory(stamp: string): boolean {
  return (Number.parseInt(stamp, 10) & 0o170000) === 0o040000;
}

/** A work tree as git sees it: which commit is checked out, what is tracked, and the tracked files. */
export async function stampWorkTree(repository: string): Promise<SourceStamp[]> {
  const asked = ['rev-parse', '--absolute-git-dir', '--git-common-dir'];
  const [own = '', common = ''] = (await runGit(asked, repository)).split('\n');
  const shared = resolve(repository, common);
  const head = /^ref: (\S+)/.exec(await readFile(join(own, 'HEAD'), 'utf8'))?.[1];
  const files = (await runGit(['ls-files', '-z'], repository)).split('\0').filter((file) => file !== '');
  return [
    join(own, 'HEAD'),
    join(own, 'index'),
    join(shared, 'packed-refs'),
    ...(head === undefined ? [] : [join(shared, head)]),
    ...files.map((file) => join(repository, file)),
  ].map((path) => [toByteText(path), stampOf(path)]);
}
