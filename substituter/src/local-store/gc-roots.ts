import { lstatSync, mkdirSync, readlinkSync, renameSync, symlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { computeHash } from '@larder/signing/hash';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { StoreLayout } from './layout.js';

/**
 * Makes a symbolic link to a store path and a root of the garbage collector of it, as Nix's `result` links are:
 * the store keeps a link to the link, so that removing that one lets the path go. The caller holds the path as
 * a temporary root. An existing link to the store is replaced, anything else is not.
 * @throws `link-occupied`
 */
export function addIndirectRoot(layout: StoreLayout, link: string, path: StorePath): void {
  const full = resolve(link);
  makeRootLink(layout.storeDir, full, path);
  const auto = `${layout.stateDir}/gcroots/auto`;
  mkdirSync(auto, { recursive: true });
  // Named by the link's place, so that a link has one entry however often it is made.
  replaceLink(`${auto}/${computeHash('sha1', full).format('nix32', { prefix: false })}`, full);
}

/** Makes the link alone, with an absolute path; it is no root before the store was told. @throws `link-occupied` */
export function makeRootLink(storeDir: StoreDir, full: string, path: StorePath): void {
  const present = lstatSync(full, { throwIfNoEntry: false });
  const replaceable = present?.isSymbolicLink() && readlinkSync(full).startsWith(`${storeDir.path}/`);
  if (present !== undefined && !replaceable) {
    throw new LarderError(
      'link-occupied',
      `cannot create the link '${full}': something else has that name; choose another with --out-link`,
    );
  }
  mkdirSync(dirname(full), { recursive: true });
  replaceLink(full, storeDir.format(path));
}

/** Crash invariant: a link with that name always leads to its old or to its new target. */
function replaceLink(link: string, target: string): void {
  const temporary = `${dirname(link)}/.${process.pid}-${process.hrtime.bigint()}.tmp`;
  symlinkSync(target, temporary);
  renameSync(temporary, link);
}
