import { LarderError } from '@larder/signing/errors';
import { parseAccessTokens } from './fetch/access-tokens.js';
import type { LanguageSettings } from './instantiate-request.js';

type Lint = LanguageSettings['lintUrlLiterals'];

/** Settings while they are gathered from configuration and command line. */
export type MutableSettings = { -readonly [Key in keyof LanguageSettings]: LanguageSettings[Key] };

const platforms: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' };

/** Nix's defaults. */
export function defaultSettings(): MutableSettings {
  const machine = platforms[process.arch] ?? process.arch;
  return {
    showTrace: false,
    maxCallDepth: 10_000,
    pureEval: false,
    restrictEval: false,
    allowedUris: [],
    allowImportFromDerivation: true,
    traceVerbose: false,
    abortOnWarn: false,
    evalCache: true,
    accessTokens: {},
    currentSystem: `${machine}-${process.platform}`,
    experimentalFeatures: ['fetch-tree'],
    lintUrlLiterals: 'ignore',
    lintShortPathLiterals: 'ignore',
    lintAbsolutePathLiterals: 'ignore',
  };
}

const booleans: Readonly<Record<string, keyof LanguageSettings>> = {
  'show-trace': 'showTrace',
  'pure-eval': 'pureEval',
  'restrict-eval': 'restrictEval',
  'allow-import-from-derivation': 'allowImportFromDerivation',
  'trace-verbose': 'traceVerbose',
  'abort-on-warn': 'abortOnWarn',
  'eval-cache': 'evalCache',
};

const lints: Readonly<Record<string, keyof LanguageSettings>> = {
  'lint-url-literals': 'lintUrlLiterals',
  'lint-short-path-literals': 'lintShortPathLiterals',
  'lint-absolute-path-literals': 'lintAbsolutePathLiterals',
};

const words = (value: string): string[] => value.split(/\s+/).filter((word) => word !== '');

/** Whether a setting is a switch, which the command line can give as `--name` and `--no-name`. */
export function isSwitch(name: string): boolean {
  return Object.hasOwn(booleans, name) || (valueless as readonly string[]).includes(name);
}

/** Nix's switches that say nothing about evaluation. */
const valueless = [
  'keep-going',
  'keep-failed',
  'fallback',
  'readonly-mode',
  'sandbox',
  'substitute',
  'use-case-hack',
  'accept-flake-config',
  'keep-outputs',
  'keep-derivations',
  'warn-dirty',
  'use-registries',
] as const;

/** Settings of Nix that take a value and say nothing about evaluation. */
const ignored = new Set<string>([
  ...valueless,
  'cores',
  'max-jobs',
  'max-silent-time',
  'timeout',
  'store',
  'substituters',
  'trusted-public-keys',
  'trusted-substituters',
  'builders',
  'build-users-group',
  'extra-substituters',
  'extra-trusted-public-keys',
  'tarball-ttl',
  'connect-timeout',
  'narinfo-cache-negative-ttl',
  'narinfo-cache-positive-ttl',
  'system-features',
  'extra-platforms',
  'extra-sandbox-paths',
  'sandbox-paths',
  'netrc-file',
  'flake-registry',
  'nix-path',
]);

/** Settings of evaluation that take another value than a switch's; they may begin with `extra-`. */
const withValue: readonly string[] = [
  'max-call-depth',
  'allowed-uris',
  'access-tokens',
  'system',
  'eval-system',
  'experimental-features',
  'commit-lockfile-summary',
];

/** Whether a setting is one this program knows. */
export function isSetting(name: string): boolean {
  const plain = name.replace(/^extra-/, '');
  return (
    Object.hasOwn(booleans, name) ||
    Object.hasOwn(lints, name) ||
    ignored.has(name) ||
    withValue.includes(plain)
  );
}

function parseBoolean(name: string, value: string): boolean {
  if (['true', 'yes', '1'].includes(value)) return true;
  if (['false', 'no', '0'].includes(value)) return false;
  throw new LarderError('usage', `Boolean setting '${name}' has invalid value '${value}'`);
}

/**
 * Sets one setting under its nix.conf name.
 * @throws LarderError `usage` for a value it cannot have.
 */
export function applySetting(settings: MutableSettings, name: string, value: string): void {
  const boolean = booleans[name];
  if (boolean !== undefined) {
    Object.assign(settings, { [boolean]: parseBoolean(name, value) });
    return;
  }
  const lint = lints[name];
  if (lint !== undefined) {
    if (!['ignore', 'warn', 'fatal'].includes(value)) {
      throw new LarderError('usage', `setting '${name}' has invalid value '${value}'`);
    }
    Object.assign(settings, { [lint]: value as Lint });
    return;
  }
  switch (name) {
    case 'max-call-depth': {
      const depth = Number(value);
      if (!Number.isSafeInteger(depth) || depth < 0) {
        throw new LarderError('usage', `setting '${name}' has invalid value '${value}'`);
      }
      settings.maxCallDepth = depth;
      return;
    }
    case 'allowed-uris':
      settings.allowedUris = words(value);
      return;
    case 'extra-allowed-uris':
      settings.allowedUris = [...settings.allowedUris, ...words(value)];
      return;
    case 'access-tokens':
      settings.accessTokens = parseAccessTokens(value);
      return;
    case 'extra-access-tokens':
      settings.accessTokens = { ...settings.accessTokens, ...parseAccessTokens(value) };
      return;
    case 'commit-lockfile-summary':
      settings.commitLockFileSummary = value;
      return;
    case 'system':
    case 'eval-system':
      if (value !== '') settings.currentSystem = value;
      return;
    case 'experimental-features':
      settings.experimentalFeatures = ['fetch-tree', ...words(value)];
      return;
    case 'extra-experimental-features':
      settings.experimentalFeatures = [...settings.experimentalFeatures, ...words(value)];
      return;
    default:
  }
}
