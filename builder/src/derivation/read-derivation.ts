import { readFileSync } from 'node:fs';
import { type Derivation, parseDerivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';

/**
 * Parses a `.drv` file with its strings as byte strings (latin1: one character a byte), since a derivation may
 * hold bytes that are no UTF-8, and a builder must be given exactly them.
 * @throws `derivation-malformed`
 */
export function parseDerivationBytes(file: Uint8Array, path: StorePath, storeDir: StoreDir): Derivation {
  return parseDerivation(
    Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString('latin1'),
    path,
    storeDir,
  );
}

/**
 * Reads a derivation from the store, strings as byte strings.
 * @throws `derivation-missing`, `derivation-malformed`
 */
export function readDerivation(store: LocalStore, path: StorePath): Derivation {
  let file: Uint8Array;
  try {
    file = readFileSync(store.realPath(path));
  } catch (error) {
    throw new LarderError(
      'derivation-missing',
      `the derivation ${store.storeDir.format(path)} cannot be read`,
      {
        cause: error,
      },
    );
  }
  return parseDerivationBytes(file, path, store.storeDir);
}
