import { quoteForShell } from '@larder/substituter/daemon/ssh-target';
import type { SwitchAction } from '../activate/switch-system.js';

/** What is to be done on a machine that has the system in its store. */
export interface RemoteActivation {
  readonly action: SwitchAction;
  readonly profileName?: string;
  readonly specialisation?: string;
  readonly installBootLoader?: boolean;
  readonly bootMenu?: 'auto' | 'always' | 'never';
  /** The cache to pin that machine's generations in, and its name there: with its own login. */
  readonly pin?: string | false;
  readonly pinName?: string;
}

/**
 * The script that activates a system where it runs: by Larder where that is installed, which writes the boot menu for
 * systems that bring no installer; else by Nix's programs and the system's own, as `nixos-rebuild` does it.
 */
export function activationScript(system: string, activation: RemoteActivation): string {
  const { action, specialisation } = activation;
  const chosen = specialisation === undefined ? system : `${system}/specialisation/${specialisation}`;
  return withLarder(
    activation,
    ['--store-path', system],
    [
      ...(isPermanent(action)
        ? [
            `mkdir -p "$(dirname ${profilePath(activation)})"`,
            `nix-env --profile ${profilePath(activation)} --set ${quoteForShell(system)}`,
          ]
        : []),
      switchCommand(quoteForShell(chosen), activation),
    ],
  );
}

/** The script that goes back there: to the generation before, or to `to`. */
export function rollbackScript(activation: RemoteActivation & { readonly to?: number }): string {
  const { action, to, specialisation } = activation;
  const profile = profilePath(activation);
  const chosen =
    specialisation === undefined ? profile : `${profile}/specialisation/${quoteForShell(specialisation)}`;
  const choose = to === undefined ? '--rollback' : `--switch-generation ${to}`;
  return withLarder(
    activation,
    ['--rollback', ...(to === undefined ? [] : ['--to', String(to)])],
    [
      isPermanent(action)
        ? `nix-env --profile ${profile} ${choose}`
        : `echo 'rebuild ${action} --rollback needs Larder on the target' >&2; exit 1`,
      switchCommand(chosen, activation),
    ],
  );
}

function withLarder(
  activation: RemoteActivation,
  what: readonly string[],
  otherwise: readonly string[],
): string {
  const {
    action,
    profileName,
    specialisation,
    installBootLoader,
    bootMenu = 'auto',
    pin,
    pinName,
  } = activation;
  const options = [
    ...what,
    ...(profileName === undefined ? [] : ['--profile-name', profileName]),
    ...(specialisation === undefined ? [] : ['--specialisation', specialisation]),
    ...(installBootLoader ? ['--install-bootloader'] : []),
    ...(bootMenu === 'auto' ? [] : ['--boot-menu', bootMenu]),
    ...(pin === undefined ? [] : pin === false ? ['--no-pin'] : ['--pin', pin]),
    ...(pinName === undefined ? [] : ['--pin-name', pinName]),
  ];
  const unpinned = typeof pin === 'string' && isPermanent(action);
  return [
    'set -e',
    `if command -v larder > /dev/null 2>&1; then exec larder rebuild ${[action, ...options].map(quoteForShell).join(' ')}; fi`,
    ...(unpinned ? ["echo 'warning: nothing is pinned: that needs Larder on the target' >&2"] : []),
    ...otherwise,
  ].join('\n');
}

function switchCommand(system: string, { action, installBootLoader }: RemoteActivation): string {
  return `NIXOS_INSTALL_BOOTLOADER=${installBootLoader ? 1 : 0} exec ${system}/bin/switch-to-configuration ${action}`;
}

function isPermanent(action: SwitchAction): boolean {
  return action === 'switch' || action === 'boot';
}

function profilePath({ profileName = 'system' }: RemoteActivation): string {
  const profiles = '/nix/var/nix/profiles';
  return profileName === 'system'
    ? `${profiles}/system`
    : `${profiles}/system-profiles/${quoteForShell(profileName)}`;
}
