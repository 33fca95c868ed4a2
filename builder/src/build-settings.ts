import { accessSync, constants, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { LarderError } from '@larder/signing/errors';
import { SecretKey } from '@larder/signing/key';
import type { Settings } from '@larder/substituter/settings/settings';
import { splitWords } from './derivation/derivation-options.js';
import { type BuildMachine, parseMachines } from './machines/build-machine.js';

/** A host path that a sandbox shows under a name of its own. */
export interface SandboxPath {
  readonly source: string;
  readonly mayMiss: boolean;
}

export type SandboxMode = 'enabled' | 'relaxed' | 'disabled';

/** The settings of nix.conf that steer builds, under Nix's names in camel case. Times are in seconds, 0 is no limit. */
export interface BuildSettings {
  readonly buildUsersGroup: string;
  /** Other machines that builds may be given to: `builders`. */
  readonly buildMachines: readonly BuildMachine[];
  readonly buildersUseSubstitutes: boolean;
  readonly compressBuildLog: boolean;
  readonly cores: number;
  readonly enforceDeterminism: boolean;
  readonly experimentalFeatures: ReadonlySet<string>;
  readonly extraPlatforms: ReadonlySet<string>;
  readonly fallback: boolean;
  readonly filterSyscalls: boolean;
  readonly hashedMirrors: readonly string[];
  readonly impersonateLinux26: boolean;
  readonly keepBuildLog: boolean;
  readonly keepFailed: boolean;
  readonly keepGoing: boolean;
  readonly logLines: number;
  readonly maxBuildLogSize: number;
  readonly maxJobs: number;
  readonly maxSilentTime: number;
  readonly postBuildHook: string;
  /** How often a build is repeated and compared before its outputs are kept. */
  readonly repeat: number;
  readonly sandbox: SandboxMode;
  readonly sandboxBuildDir: string;
  readonly sandboxDevShmSize: string;
  /** By the path inside. */
  readonly sandboxPaths: ReadonlyMap<string, SandboxPath>;
  readonly secretKeys: readonly SecretKey[];
  readonly substitute: boolean;
  readonly system: string;
  readonly systemFeatures: ReadonlySet<string>;
  readonly timeout: number;
}

export interface BuildDefaults {
  /** Whether what caches turn out not to deliver is built, unless the settings say. Nix's own default is false. */
  readonly fallback?: boolean;
}

/**
 * Reads them from the settings in force.
 * @throws `config-invalid`
 */
export function readBuildSettings(settings: Settings, defaults: BuildDefaults = {}): BuildSettings {
  const read = new SettingReader(settings);
  const fallback = settings.sourced('fallback');
  const system = read.text('system', defaultSystem());
  return {
    buildMachines: readMachines(settings, system),
    buildUsersGroup: settings.get('build-users-group'),
    buildersUseSubstitutes: read.flag('builders-use-substitutes', false),
    compressBuildLog: read.flag('compress-build-log', true),
    cores: read.count('cores', availableParallelism()),
    enforceDeterminism: read.flag('enforce-determinism', true),
    experimentalFeatures: read.words('experimental-features', []),
    extraPlatforms: read.words('extra-platforms', system === 'x86_64-linux' ? ['i686-linux'] : []),
    fallback: fallback.origin === 'default' ? (defaults.fallback ?? true) : fallback.value,
    filterSyscalls: read.flag('filter-syscalls', true),
    hashedMirrors: [...read.words('hashed-mirrors', [])],
    impersonateLinux26: read.flag('impersonate-linux-26', false),
    keepBuildLog: read.flag('keep-build-log', true),
    keepFailed: read.flag('keep-failed', false),
    keepGoing: read.flag('keep-going', false),
    logLines: read.count('log-lines', 10),
    maxBuildLogSize: read.count('max-build-log-size', 0),
    maxJobs: read.text('max-jobs', '1') === 'auto' ? availableParallelism() : read.count('max-jobs', 1),
    maxSilentTime: read.count('max-silent-time', 0),
    postBuildHook: read.text('post-build-hook', ''),
    repeat: read.count('repeat', 0),
    sandbox: read.sandboxMode(),
    sandboxBuildDir: read.text('sandbox-build-dir', '/build'),
    sandboxDevShmSize: read.text('sandbox-dev-shm-size', '50%'),
    sandboxPaths: parseSandboxPaths(read.words('sandbox-paths', [])),
    secretKeys: settings.get('secret-key-files').map((file) => SecretKey.parse(readFileSync(file, 'utf8'))),
    substitute: settings.get('substitute'),
    system,
    systemFeatures: read.words('system-features', defaultFeatures()),
    timeout: read.count('timeout', 0),
  };
}

function readMachines(settings: Settings, system: string): BuildMachine[] {
  const { confDir } = settings.directories;
  const { value, origin } = settings.other('builders') ?? {
    value: `@${confDir.value}/machines`,
    origin: confDir.origin,
  };
  return parseMachines(value, { system, origin });
}

/** Nix's older names for these settings. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  cores: ['build-cores'],
  'compress-build-log': ['build-compress-log'],
  'extra-platforms': [],
  'impersonate-linux-26': ['build-impersonate-linux-26'],
  'keep-build-log': ['build-keep-log'],
  'max-build-log-size': ['build-max-log-size'],
  'max-jobs': ['build-max-jobs'],
  'max-silent-time': ['build-max-silent-time'],
  repeat: ['build-repeat'],
  sandbox: ['build-use-chroot', 'build-use-sandbox'],
  'sandbox-paths': ['build-chroot-dirs', 'build-sandbox-paths'],
  timeout: ['build-timeout'],
};

class SettingReader {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  #find(name: string): { value: string; origin: string } | undefined {
    for (const each of [name, ...(aliases[name] ?? [])]) {
      const found = this.#settings.other(each);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  text(name: string, fallback: string): string {
    return this.#find(name)?.value ?? fallback;
  }

  words(name: string, fallback: readonly string[]): ReadonlySet<string> {
    const found = this.#find(name);
    return new Set(found === undefined ? fallback : splitWords(found.value));
  }

  flag(name: string, fallback: boolean): boolean {
    const found = this.#find(name);
    if (found === undefined) return fallback;
    if (['true', 'yes', '1'].includes(found.value)) return true;
    if (['false', 'no', '0'].includes(found.value)) return false;
    throw invalid(found.origin, name, 'true or false', found.value);
  }

  count(name: string, fallback: number): number {
    const found = this.#find(name);
    if (found === undefined) return fallback;
    const match = /^(\d+)([KMGT]?)$/i.exec(found.value);
    if (match === null) throw invalid(found.origin, name, 'a whole number', found.value);
    const factor = 1024 ** ' KMGT'.indexOf(match[2] === '' ? ' ' : match[2]!.toUpperCase());
    return Number(match[1]) * factor;
  }

  sandboxMode(): SandboxMode {
    const found = this.#find('sandbox');
    if (found?.value === 'relaxed') return 'relaxed';
    return this.flag('sandbox', true) ? 'enabled' : 'disabled';
  }
}

function invalid(origin: string, name: string, expected: string, value: string): LarderError {
  return new LarderError('config-invalid', `${origin}: ${name} must be ${expected}, not '${value}'.`);
}

/** `/inside=/outside`, `/both`, each with a final `?` where it may be missing. */
function parseSandboxPaths(entries: Iterable<string>): Map<string, SandboxPath> {
  const paths = new Map<string, SandboxPath>();
  for (const entry of entries) {
    const mayMiss = entry.endsWith('?');
    const spec = mayMiss ? entry.slice(0, -1) : entry;
    const equals = spec.indexOf('=');
    const target = equals < 0 ? spec : spec.slice(0, equals);
    paths.set(target, { source: equals < 0 ? spec : spec.slice(equals + 1), mayMiss });
  }
  return paths;
}

const processors: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  ia32: 'i686',
  arm: 'armv7l',
  riscv64: 'riscv64',
  ppc64: 'powerpc64le',
  s390x: 's390x',
};

function defaultSystem(): string {
  return `${processors[process.arch] ?? process.arch}-${process.platform}`;
}

function defaultFeatures(): string[] {
  const features = ['nixos-test', 'benchmark', 'big-parallel'];
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    features.push('kvm');
  } catch {
    // A machine without virtualization, or without our right to it.
  }
  return features;
}
