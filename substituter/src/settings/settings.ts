import type { Assignment } from './nix-conf.js';
import {
  isSettingName,
  type SettingKind,
  type SettingName,
  type SettingValue,
  settingAliases,
  settingKinds,
} from './setting-kinds.js';

/** A value with where it came from: `default`, `/etc/nix/nix.conf:3`, `environment NIX_STORE_DIR`. */
export interface Sourced<T> {
  readonly value: T;
  readonly origin: string;
}

/** The directories of an installation of Nix; each can be set by an environment variable. */
export interface NixDirectories {
  readonly storeDir: Sourced<string>;
  readonly stateDir: Sourced<string>;
  readonly logDir: Sourced<string>;
  readonly confDir: Sourced<string>;
  /** Where Nix's daemon listens. */
  readonly daemonSocket: Sourced<string>;
  /** Where Larder keeps what it can fetch again: cached narinfos. */
  readonly cacheDir: Sourced<string>;
  /** The file where Nix keeps what caches said of paths. */
  readonly narInfoCache: Sourced<string>;
}

/** The settings in force on this machine, each with its origin. Made by `loadSettings` in `config.ts`. */
export class Settings {
  readonly directories: NixDirectories;
  readonly #known = new Map<SettingName, Sourced<unknown>>();
  readonly #others = new Map<string, Sourced<string>>();

  constructor(directories: NixDirectories) {
    this.directories = directories;
  }

  get<Name extends SettingName>(name: Name): SettingValue<Name> {
    return this.sourced(name).value;
  }

  /** The value with its origin. */
  sourced<Name extends SettingName>(name: Name): Sourced<SettingValue<Name>> {
    const found = this.#known.get(name) ?? { value: this.#fallback(name), origin: 'default' };
    return found as Sourced<SettingValue<Name>>;
  }

  /** The text of a setting that only other parts (or Nix) read, such as `cores` or `sandbox`. */
  other(name: string): Sourced<string> | undefined {
    return this.#others.get(name);
  }

  /** Settings found in the configuration that the client itself has no use for, by name. */
  get others(): ReadonlyMap<string, Sourced<string>> {
    return this.#others;
  }

  /**
   * Puts an assignment in force over what was there, with Nix's aliases and `extra-` forms.
   * Throws `config-invalid` when the value cannot be read.
   */
  assign({ name, value, origin }: Assignment): void {
    const direct = settingName(name);
    if (direct !== undefined) {
      this.#known.set(direct, { value: settingKinds[direct].parse(value, name, origin), origin });
      return;
    }
    const extended = name.startsWith('extra-') ? settingName(name.slice('extra-'.length)) : undefined;
    if (extended !== undefined && settingKinds[extended].append !== undefined) {
      const kind = settingKinds[extended] as SettingKind<unknown>;
      const current: Sourced<unknown> = this.sourced(extended);
      const joined = kind.append!(current.value, kind.parse(value, name, origin));
      this.#known.set(extended, { value: joined, origin: `${current.origin}, ${origin}` });
      return;
    }
    this.#appendOther(name, value, origin);
  }

  #appendOther(name: string, value: string, origin: string): void {
    const target = name.startsWith('extra-') ? name.slice('extra-'.length) : name;
    const current = this.#others.get(target);
    this.#others.set(
      target,
      target === name || current === undefined
        ? { value, origin }
        : { value: `${current.value} ${value}`, origin: `${current.origin}, ${origin}` },
    );
  }

  /** Defaults that follow the directories, as in Nix. */
  #fallback(name: SettingName): unknown {
    if (name === 'netrc-file') return `${this.directories.confDir.value}/netrc`;
    // The official cache holds paths of the official store directory alone.
    if (name === 'substituters' && this.directories.storeDir.value !== '/nix/store') return [];
    return settingKinds[name].fallback;
  }
}

function settingName(name: string): SettingName | undefined {
  return isSettingName(name) ? name : settingAliases[name];
}
