import { LarderError } from '@larder/signing/errors';

/** How one setting's text is read, and what it is when nobody sets it. */
export interface SettingKind<T> {
  readonly fallback: T;
  /** Reads the text; `origin` is for the message of `config-invalid`. */
  parse(text: string, name: string, origin: string): T;
  /** Adds an `extra-` value to the one in force; absent where Nix has no `extra-` form. */
  append?(current: T, added: T): T;
}

function words(fallback: readonly string[]): SettingKind<readonly string[]> {
  return {
    fallback,
    parse: (text) => text.split(/[ \t\n\r]+/).filter((word) => word !== ''),
    append: (current, added) => [...current, ...added.filter((word) => !current.includes(word))],
  };
}

function text(fallback: string): SettingKind<string> {
  return { fallback, parse: (value) => value };
}

function flag(fallback: boolean): SettingKind<boolean> {
  return {
    fallback,
    parse(value, name, origin) {
      if (value === 'true' || value === 'yes' || value === '1') return true;
      if (value === 'false' || value === 'no' || value === '0') return false;
      throw new LarderError('config-invalid', `${origin}: ${name} must be true or false, not "${value}".`);
    },
  };
}

const unitFactors: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

function count(fallback: number): SettingKind<number> {
  return {
    fallback,
    parse(value, name, origin) {
      const match = /^(\d+)([KMGT]?)$/i.exec(value);
      if (match === null) {
        throw new LarderError('config-invalid', `${origin}: ${name} must be a whole number, not "${value}".`);
      }
      return Number(match[1]) * unitFactors[match[2]!.toUpperCase()]!;
    },
  };
}

/** The public key of cache.nixos.org, which Nix trusts unless it is told otherwise. */
const officialKey = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=';

/**
 * The settings of nix.conf that Larder obeys, under Nix's names and with Nix's defaults (nix.conf(5)).
 * `substituters` and `netrc-file` have defaults that depend on directories: see `Settings`.
 */
export const settingKinds = {
  'auto-optimise-store': flag(false),
  'build-users-group': text(''),
  'connect-timeout': count(0),
  'download-attempts': count(5),
  fallback: flag(false),
  'fsync-metadata': flag(true),
  'fsync-store-paths': flag(false),
  'gc-reserved-space': count(8 * 1024 * 1024),
  'http-connections': count(25),
  'max-substitution-jobs': count(16),
  'narinfo-cache-negative-ttl': count(3600),
  'narinfo-cache-positive-ttl': count(30 * 24 * 3600),
  'netrc-file': text(''),
  'require-sigs': flag(true),
  'secret-key-files': words([]),
  'ssl-cert-file': text(''),
  'stalled-download-timeout': count(300),
  store: text('auto'),
  substitute: flag(true),
  substituters: words(['https://cache.nixos.org/']),
  'sync-before-registering': flag(false),
  'trusted-public-keys': words([officialKey]),
  'trusted-substituters': words([]),
  'use-sqlite-wal': flag(true),
  'user-agent-suffix': text(''),
} as const satisfies Record<string, SettingKind<unknown>>;

export type SettingName = keyof typeof settingKinds;
export type SettingValue<Name extends SettingName> =
  (typeof settingKinds)[Name] extends SettingKind<infer T> ? T : never;

/** Nix's older names for settings. */
export const settingAliases: Readonly<Record<string, SettingName>> = {
  'binary-caches': 'substituters',
  'binary-cache-public-keys': 'trusted-public-keys',
  'binary-caches-parallel-connections': 'http-connections',
  'build-fallback': 'fallback',
  'build-use-substitutes': 'substitute',
  'trusted-binary-caches': 'trusted-substituters',
};

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(settingKinds, name);
}
