/** Settings of nix.conf that are on or off: on the command line `--name` and `--no-name`. */
const switches = new Set(
  `accept-flake-config allow-dirty allow-import-from-derivation allow-new-privileges allow-symlinked-store
  allow-unsafe-native-code-during-evaluation auto-optimise-store builders-use-substitutes compress-build-log
  enforce-determinism eval-cache fallback filter-syscalls fsync-metadata fsync-store-paths http2
  impersonate-linux-26 keep-build-log keep-derivations keep-env-derivations keep-failed keep-going keep-outputs
  preallocate-contents print-missing pure-eval require-sigs restrict-eval run-diff-hook sandbox sandbox-fallback
  show-trace substitute sync-before-registering trace-function-calls trace-verbose use-case-hack use-registries
  use-sqlite-wal warn-dirty abort-on-warn`.split(/\s+/),
);

/** Settings that hold a list, so that `extra-` adds to them. */
const lists = new Set(
  `access-tokens allowed-impure-host-deps allowed-uris allowed-users experimental-features extra-platforms
  hashed-mirrors ignored-acls nix-path plugin-files sandbox-paths secret-key-files substituters system-features
  trusted-public-keys trusted-substituters trusted-users`.split(/\s+/),
);

const values = new Set(
  `bash-prompt bash-prompt-prefix bash-prompt-suffix build-dir build-hook build-poll-interval build-users-group
  builders commit-lockfile-summary connect-timeout cores diff-hook download-attempts eval-system flake-registry
  gc-reserved-space http-connections log-lines max-build-log-size max-call-depth max-free max-jobs max-silent-time
  max-substitution-jobs min-free min-free-check-interval nar-buffer-size narinfo-cache-negative-ttl
  narinfo-cache-positive-ttl netrc-file post-build-hook pre-build-hook repeat sandbox-build-dir
  sandbox-dev-shm-size ssl-cert-file stalled-download-timeout store system tarball-ttl timeout
  user-agent-suffix lint-url-literals lint-short-path-literals lint-absolute-path-literals`.split(/\s+/),
);

/** Older names that `--option` and nix.conf still take. */
const oldNames: Readonly<Record<string, string>> = {
  'binary-cache-public-keys': 'trusted-public-keys',
  'binary-caches': 'substituters',
  'binary-caches-parallel-connections': 'http-connections',
  'build-chroot-dirs': 'sandbox-paths',
  'build-compress-log': 'compress-build-log',
  'build-cores': 'cores',
  'build-extra-platforms': 'extra-platforms',
  'build-fallback': 'fallback',
  'build-impersonate-linux-26': 'impersonate-linux-26',
  'build-keep-log': 'keep-build-log',
  'build-max-jobs': 'max-jobs',
  'build-max-log-size': 'max-build-log-size',
  'build-max-silent-time': 'max-silent-time',
  'build-repeat': 'repeat',
  'build-sandbox-paths': 'sandbox-paths',
  'build-timeout': 'timeout',
  'build-use-chroot': 'sandbox',
  'build-use-sandbox': 'sandbox',
  'build-use-substitutes': 'substitute',
  'env-keep-derivations': 'keep-env-derivations',
  'gc-keep-derivations': 'keep-derivations',
  'gc-keep-outputs': 'keep-outputs',
  substituter: 'substituters',
  'trusted-binary-caches': 'trusted-substituters',
};

/** The present name of a setting, with its `extra-`; undefined for one that Nix does not know. */
export function settingName(name: string): string | undefined {
  const extra = name.startsWith('extra-') && name !== 'extra-platforms';
  const plain = extra ? name.slice('extra-'.length) : name;
  const present = oldNames[plain] ?? plain;
  if (extra) return lists.has(present) ? `extra-${present}` : undefined;
  return switches.has(present) || lists.has(present) || values.has(present) ? present : undefined;
}

/** What a long option says of a setting: its name, and its value unless that is the next argument. */
export function settingFlag(option: string): { readonly name: string; readonly value?: string } | undefined {
  const name = option.slice('--'.length);
  if (name === 'relaxed-sandbox') return { name: 'sandbox', value: 'relaxed' };
  if (switches.has(name)) return { name, value: 'true' };
  if (name.startsWith('no-') && switches.has(name.slice(3))) return { name: name.slice(3), value: 'false' };
  if (lists.has(name) || values.has(name)) return { name };
  return name.startsWith('extra-') && lists.has(name.slice('extra-'.length)) ? { name } : undefined;
}
