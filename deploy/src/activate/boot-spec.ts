import { readFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { MachineRoot } from './machine-root.js';

/** What booting a system takes: its bootspec (RFC 125). All paths are logical. */
export interface BootSpec {
  readonly label: string;
  /** The kernel itself, links resolved. */
  readonly kernel: string;
  readonly kernelParams: readonly string[];
  readonly initrd?: string;
  readonly init: string;
  readonly specialisations: ReadonlyMap<string, BootSpec>;
}

/** How a system that brings no boot loader installer wants its menu. */
export interface BootMenuWish {
  readonly loaders: readonly ('grub' | 'systemd-boot')[];
  /** Seconds. */
  readonly timeout: number;
  readonly grubDevice?: string;
}

interface BootJson {
  readonly 'org.nixos.bootspec.v1'?: {
    readonly label: string;
    readonly kernel: string;
    readonly kernelParams: readonly string[];
    readonly initrd?: string;
    readonly init: string;
  };
  readonly 'org.nixos.specialisation.v1'?: Readonly<Record<string, BootJson>>;
  readonly 'org.larder.boot-menu.v1'?: BootMenuWish;
}

/**
 * Reads how to boot a system: from its `boot.json`, or where it has none from its `kernel`, `initrd`,
 * `kernel-params` and `init`. Gives `undefined` for a system without a kernel (a container's, say).
 * @param toplevel the system's store path, or a link to it
 * @throws `bootspec-malformed`, `file-absent` when what it names is missing
 */
export async function readBootSpec(root: MachineRoot, toplevel: string): Promise<BootSpec | undefined> {
  const system = await root.resolve(toplevel);
  const json = await readBootJson(root, system);
  if (json !== undefined) return fromJson(root, system, json);
  const kernel = await root.tryResolve(`${system}/kernel`);
  if (kernel === undefined) return undefined;
  const text = (name: string): string => readIfThere(root.physical(`${system}/${name}`))?.trim() ?? '';
  return {
    label: text('label') || text('nixos-version') || system.slice(system.indexOf('-') + 1),
    kernel,
    kernelParams: words(text('kernel-params')),
    initrd: await root.tryResolve(`${system}/initrd`),
    init: `${system}/init`,
    specialisations: new Map(),
  };
}

/** The system's wish for a menu; `undefined` when it has none, and then its own installer sees to it. */
export async function readBootMenuWish(
  root: MachineRoot,
  toplevel: string,
): Promise<BootMenuWish | undefined> {
  const json = await readBootJson(root, await root.resolve(toplevel));
  return json?.['org.larder.boot-menu.v1'];
}

async function readBootJson(root: MachineRoot, system: string): Promise<BootJson | undefined> {
  const path = await root.tryResolve(`${system}/boot.json`);
  if (path === undefined) return undefined;
  try {
    return JSON.parse(readFileSync(root.physical(path), 'utf8')) as BootJson;
  } catch (error) {
    throw new LarderError('bootspec-malformed', `${system}/boot.json is not JSON`, { cause: error });
  }
}

async function fromJson(root: MachineRoot, system: string, json: BootJson): Promise<BootSpec | undefined> {
  const spec = json['org.nixos.bootspec.v1'];
  if (spec === undefined) return undefined;
  const { label, kernel, kernelParams, initrd, init } = spec;
  if (typeof label !== 'string' || typeof init !== 'string' || !Array.isArray(kernelParams)) {
    throw new LarderError(
      'bootspec-malformed',
      `${system}/boot.json: org.nixos.bootspec.v1 needs label, kernel, kernelParams and init (RFC 125)`,
    );
  }
  const specialisations = new Map<string, BootSpec>();
  for (const [name, inner] of Object.entries(json['org.nixos.specialisation.v1'] ?? {})) {
    const each = await fromJson(root, system, inner);
    if (each !== undefined) specialisations.set(name, each);
  }
  return {
    label,
    kernel: await root.resolve(kernel),
    kernelParams,
    initrd: initrd === undefined ? undefined : await root.resolve(initrd),
    init,
    specialisations,
  };
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
