import { LarderError } from './errors.js';
import { DEFAULT_STORE_DIR } from './store-path.js';

/** A cache's `nix-cache-info`. */
export interface CacheInfo {
  /** The store directory its paths are for. */
  readonly storeDir: string;
  /** Whether clients may ask for many paths at once when planning. */
  readonly wantMassQuery: boolean;
  /** Lower is asked first; Nix's default is 50. */
  readonly priority: number;
}

/**
 * Parses a `nix-cache-info`; what it does not say takes Nix's defaults.
 * @throws `cache-info-malformed` for a priority that is no integer.
 */
export function parseCacheInfo(text: string, source = 'nix-cache-info'): CacheInfo {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const priority = fields.get('Priority') ?? '50';
  if (!/^-?\d+$/.test(priority)) {
    throw new LarderError('cache-info-malformed', `${source}: Priority '${priority}' is not an integer`, {
      fields: { source },
    });
  }
  return {
    storeDir: fields.get('StoreDir') ?? DEFAULT_STORE_DIR,
    wantMassQuery: fields.get('WantMassQuery') === '1',
    priority: Number(priority),
  };
}

/** Writes a `nix-cache-info` as Nix reads it. */
export function formatCacheInfo(info: CacheInfo): string {
  return `StoreDir: ${info.storeDir}\nWantMassQuery: ${info.wantMassQuery ? 1 : 0}\nPriority: ${info.priority}\n`;
}
