import { formatContentAddress, parseContentAddress } from '@larder/signing/content-address';
import { LarderError } from '@larder/signing/errors';
import { parseHash } from '@larder/signing/hash';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';

/** A row of Nix's table `ValidPaths`. */
export interface ValidPathRow {
  readonly id: number;
  readonly path: string;
  /** `sha256:` and base-16, the only notation that every Nix reads here. */
  readonly hash: string;
  readonly registrationTime: number;
  readonly deriver: string | null;
  readonly narSize: number | null;
  readonly ultimate: number | null;
  readonly sigs: string | null;
  readonly ca: string | null;
}

/** Reads a row, with the references that another table holds. Throws `store-corrupt`. */
export function parseRow(
  row: ValidPathRow,
  references: readonly StorePath[],
  storeDir: StoreDir,
): ValidPathInfo {
  try {
    return {
      storePath: storeDir.parse(row.path),
      narHash: parseHash(row.hash),
      narSize: row.narSize ?? 0,
      references: [...references].sort(),
      deriver: row.deriver === null || row.deriver === '' ? undefined : storeDir.parse(row.deriver),
      registrationTime: row.registrationTime,
      ultimate: row.ultimate === 1,
      signatures: row.sigs === null || row.sigs === '' ? [] : row.sigs.split(' '),
      ca: row.ca === null || row.ca === '' ? undefined : parseContentAddress(row.ca),
    };
  } catch (error) {
    throw new LarderError('store-corrupt', `The store database has a broken entry for ${row.path}.`, {
      cause: error,
    });
  }
}

/** The row of a path, as Nix writes it; a path not yet registered gets the present time. */
export function formatRow(info: ValidPathInfo, storeDir: StoreDir): ValidPathRow {
  return {
    id: 0,
    path: storeDir.format(info.storePath),
    hash: info.narHash.format('base16'),
    registrationTime: info.registrationTime ?? Math.floor(Date.now() / 1000),
    deriver: info.deriver === undefined ? null : storeDir.format(info.deriver),
    narSize: info.narSize === 0 ? null : info.narSize,
    ultimate: info.ultimate === true ? 1 : null,
    sigs: info.signatures.length === 0 ? null : [...info.signatures].sort().join(' '),
    ca: info.ca === undefined ? null : formatContentAddress(info.ca),
  };
}
