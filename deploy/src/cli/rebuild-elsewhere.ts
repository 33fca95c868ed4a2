import { MachineRoot } from '../activate/machine-root.js';
import type { SwitchAction } from '../activate/switch-system.js';
import { activationScript, rollbackScript } from '../rebuild/remote-activation.js';
import { copyClosure, type RemoteCopyOptions } from '../rebuild/remote-copy.js';
import { RemoteHost } from '../rebuild/remote-host.js';
import { createProgress } from './progress.js';
import { type RebuildCall, type RebuildOptions, toRequest } from './rebuild-options.js';

/** Copies a system to another machine and activates it there. */
export async function activateElsewhere(
  call: RebuildCall,
  { path, host, action }: { readonly path: string; readonly host: string; readonly action: SwitchAction },
): Promise<void> {
  const { options } = call;
  const target = openHost(host, options);
  await copyClosure(path, { to: target.storeUri }, remoteCopyOptions(call));
  await target.run(activationScript(path, { ...toRequest(call), ...pinChoice(options), action }));
}

/** Goes back on another machine. */
export async function goBackElsewhere(host: string, action: SwitchAction, call: RebuildCall): Promise<void> {
  const { options } = call;
  const target = openHost(host, options);
  await target.run(rollbackScript({ ...toRequest(call), ...pinChoice(options), to: options.to, action }));
}

function pinChoice({ pin, pinName }: RebuildOptions): Pick<RebuildOptions, 'pin' | 'pinName'> {
  return { pin, pinName };
}

export function openHost(host: string, { useRemoteSudo }: RebuildOptions): RemoteHost {
  return new RemoteHost(host, { sudo: useRemoteSudo });
}

/** How closures are copied between machines. */
export function remoteCopyOptions({ options, settings }: RebuildCall): RemoteCopyOptions {
  return {
    root: new MachineRoot(options.root).directory,
    settings,
    useSubstitutes: options.useSubstitutes ?? false,
    onEvent: createProgress({}).listener,
  };
}
