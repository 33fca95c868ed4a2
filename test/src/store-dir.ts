import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';

/** `/nix/store`, the logical store directory of nearly everything here. */
export const defaultStoreDir: StoreDir = new StoreDir(DEFAULT_STORE_DIR);
