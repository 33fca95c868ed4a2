import { lstatSync, mkdirSync, readlinkSync, renameSync, symlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { computeHash } from '@larder/signing/hash';
import type { StorePath } from '@larder/signing/store-path';
import type { StoreLayout } from './layout.js';

/**
 * Makes a symbolic link to a store path and a root of the garbage collector of it, as Nix's `result` links are:
 * the store keeps a link to the link, so that removing that one lets the path go. The caller holds the path as
 * a temporary root. An existing link to the store is replaced, anything else is not.
 * @throws `link-occupied`
 */
export function addIndirectRoot(layout: StoreLayout, link: string, path: StorePath): void {
  const full = resolve(link);
  const present = lstatSync(full, { throwIfNoEntry: false });
  const replaceable = present?.isSymbolicLink() && readlinkSync(full).startsWith(`${layout.storeDir.path}/`);
  if (present !== undefined && !replaceable) {
    throw new LarderError(
      'link-occupied',
      `cannot create the link '${full}': something else has that name; choose another with --out-link`,
    );
  }
  const auto = `${layout.stateDir}/gcroots/auto`;
  mkdirSync(auto, { recursive: true });
  replaceLink(full, layout.storeDir.format(path));
  // Named by the link's place, so that a link has one entry however often it is made.
  replaceLink(`${auto}/${computeHash('sha1', full).format('nix32', { prefix: false })}`, full);
}

/** Crash invariant: a link with that name always leads to its old or to its new target. */
function replaceLink(link: string, target: string): void {
  const temporary = `${dirname(link)}/.${process.pid}-${process.hrtime.bigint()}.tmp`;
  symlinkSync(target, temporary);
  renameSync(temporary, link);
}
