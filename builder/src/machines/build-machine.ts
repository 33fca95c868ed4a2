import { readFileSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';

/** Another machine that builds may be given to. */
export interface BuildMachine {
  /** Its store as the setting names it; locks of its slots are named after this, as Nix's are. */
  readonly name: string;
  /** The same, to be opened: with the key to log in with and the machine's own. */
  readonly uri: string;
  readonly systems: ReadonlySet<string>;
  /** Builds it does at a time. */
  readonly maxJobs: number;
  readonly speed: number;
  readonly features: ReadonlySet<string>;
  /** Builds that do not require all of these are not for it. */
  readonly mandatoryFeatures: ReadonlySet<string>;
}

/** What a build needs of a machine. */
export interface MachineNeeds {
  readonly system: string;
  readonly features: readonly string[];
}

export interface ParseMachinesOptions {
  /** The system of machines that name none. */
  readonly system: string;
  /** Where the text comes from, for messages. */
  readonly origin: string;
}

/**
 * Reads the setting `builders`: machines parted by semicolons or line ends, `@FILE` for those in a file (none if there is no
 * such file), `#` before a comment. Format: the Nix manual, "Remote builds"; columns are URI, systems, key file, jobs, speed
 * factor, features, mandatory features and the host's public key in base64, `-` for what is left out.
 * @throws `config-invalid`
 */
export function parseMachines(text: string, options: ParseMachinesOptions): BuildMachine[] {
  return text.split(/[\n;]/).flatMap((entry) => {
    const line = entry.replace(/#.*$/, '').trim();
    if (line === '') return [];
    if (!line.startsWith('@')) return [parseMachine(line, options)];
    const file = line.slice(1).trim();
    return parseMachines(readMachinesFile(file), { ...options, origin: file });
  });
}

function readMachinesFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function parseMachine(line: string, { system, origin }: ParseMachinesOptions): BuildMachine {
  const columns = line.split(/\s+/).map((column) => (column === '-' ? '' : column));
  const [address = '', systems = '', keyFile = '', jobs = '', speed = '', features = '', mandatory = ''] =
    columns;
  const hostKey = columns[7] ?? '';
  const count = (what: string, column: string): number => {
    if (column === '') return 1;
    if (/^\d+$/.test(column)) return Number(column);
    throw invalid(origin, line, `${what} must be a whole number, not '${column}'`);
  };
  const name = address.includes('://') ? address : `ssh://${address}`;
  // What the older protocol is asked for, the newer one does as well, and better.
  const store = name.replace(/^ssh:\/\//, 'ssh-ng://');
  if (address === '' || !store.startsWith('ssh-ng://')) {
    throw invalid(origin, line, `'${address}' is not of the form ssh-ng://[USER@]HOST`);
  }
  const maxJobs = count('the number of jobs', jobs);
  return {
    name,
    uri: withParameters(store, {
      ...(keyFile === '' ? {} : { 'ssh-key': keyFile }),
      ...(hostKey === '' ? {} : { 'base64-ssh-public-host-key': hostKey }),
      // Each build keeps a connection to itself; beside them one copies.
      'max-connections': String(maxJobs + 1),
    }),
    systems: new Set(systems === '' ? [system] : systems.split(',')),
    maxJobs,
    speed: Math.max(1, count('the speed factor', speed)),
    features: words(features),
    mandatoryFeatures: words(mandatory),
  };
}

function words(column: string): Set<string> {
  return new Set(column.split(',').filter((word) => word !== ''));
}

/** Adds parameters to a URI that does not give them itself. */
function withParameters(uri: string, parameters: Readonly<Record<string, string>>): string {
  const added = Object.entries(parameters)
    .filter(([name]) => !new RegExp(`[?&]${name}=`).test(uri))
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return added.length === 0 ? uri : `${uri}${uri.includes('?') ? '&' : '?'}${added.join('&')}`;
}

function invalid(origin: string, line: string, why: string): LarderError {
  return new LarderError('config-invalid', `${origin}: in the builder '${line}', ${why}.`);
}

/** Whether a machine is of the right kind for a build. */
export function fitsMachine(machine: BuildMachine, { system, features }: MachineNeeds): boolean {
  const provided = (feature: string) =>
    machine.features.has(feature) || machine.mandatoryFeatures.has(feature);
  return (
    machine.systems.has(system) &&
    features.every(provided) &&
    [...machine.mandatoryFeatures].every((feature) => features.includes(feature))
  );
}

/** What machines there are, for a message about a build that none is for. */
export function describeMachines(machines: readonly BuildMachine[]): string {
  return machines
    .map(({ name, systems, features, mandatoryFeatures }) => {
      const provided = [...features, ...mandatoryFeatures].join(', ');
      const mandatory =
        mandatoryFeatures.size === 0 ? '' : `, of which required: ${[...mandatoryFeatures].join(', ')}`;
      return `${name} (${[...systems].join(', ')}; features {${provided}}${mandatory})`;
    })
    .join(', ');
}
