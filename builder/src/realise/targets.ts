import { isDerivationPath, type StoreDir, type StorePath } from '@larder/signing/store-path';

/** Something to realise: outputs of a derivation (`undefined` for all), or a path as it is. */
export type Target =
  | { readonly type: 'derivation'; readonly path: StorePath; readonly outputs?: readonly string[] }
  | { readonly type: 'path'; readonly path: StorePath };

/** Reads `/nix/store/….drv`, `….drv!out,dev` (or with `^`), or another store path. @throws `store-path-malformed` */
export function parseTarget(text: string, storeDir: StoreDir): Target {
  const [full = '', outputs] = text.split(/[!^]/, 2);
  const path = storeDir.parse(full);
  if (!isDerivationPath(path)) return { type: 'path', path };
  return {
    type: 'derivation',
    path,
    outputs: outputs === undefined || outputs === '*' ? undefined : outputs.split(','),
  };
}

/** A name for the same target. */
export function targetKey(path: StorePath, outputs: readonly string[] | undefined): string {
  return outputs === undefined ? path : `${path}!${[...outputs].sort().join(',')}`;
}
