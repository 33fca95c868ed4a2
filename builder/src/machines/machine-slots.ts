import { closeSync, mkdirSync } from 'node:fs';
import { openLockFile, tryLock } from '@larder/substituter/local-store/file-lock';
import { type BuildMachine, fitsMachine, type MachineNeeds } from './build-machine.js';

/** One of a machine's jobs, held until it is released. */
export interface MachineSlot {
  readonly machine: BuildMachine;
  release(): void;
}

interface Candidate {
  readonly machine: BuildMachine;
  readonly load: number;
  readonly slot: number;
}

/**
 * Which machines are free. A job is the lock of a file in the state directory under the name that Nix gives it, so that all
 * builders of this machine, stock ones too, count each other's.
 */
export class MachineSlots {
  readonly #machines: readonly BuildMachine[];
  readonly #directory: string;
  readonly #disabled = new Set<BuildMachine>();

  constructor(machines: readonly BuildMachine[], stateDir: string) {
    this.#machines = machines;
    this.#directory = `${stateDir}/current-load`;
  }

  /** Takes a job of the best machine; `none` when no machine is of the right kind, `busy` when none of those is free. */
  take(needs: MachineNeeds): MachineSlot | 'none' | 'busy' {
    const fitting = this.#machines.filter(
      (machine) => !this.#disabled.has(machine) && fitsMachine(machine, needs),
    );
    if (fitting.length === 0) return 'none';
    mkdirSync(this.#directory, { recursive: true });
    const free = fitting.flatMap((machine) => this.#look(machine) ?? []);
    for (const { machine, slot } of free.sort(compareCandidates)) {
      const lock = this.#tryLock(machine, slot);
      if (lock !== undefined) return { machine, release: () => closeSync(lock) };
    }
    return 'busy';
  }

  /** Gives a machine up for this run: it cannot be reached. */
  disable(machine: BuildMachine): void {
    this.#disabled.add(machine);
  }

  /** How many of a machine's jobs are taken, and one that is not. */
  #look(machine: BuildMachine): Candidate | undefined {
    let load = 0;
    let free: number | undefined;
    for (let slot = 0; slot < machine.maxJobs; slot++) {
      const lock = this.#tryLock(machine, slot);
      if (lock === undefined) load++;
      else {
        closeSync(lock);
        free ??= slot;
      }
    }
    return free === undefined ? undefined : { machine, load, slot: free };
  }

  #tryLock({ name }: BuildMachine, slot: number): number | undefined {
    const fd = openLockFile(`${this.#directory}/${name.replaceAll('/', '_')}-${slot}`);
    if (tryLock(fd, 'exclusive')) return fd;
    closeSync(fd);
    return undefined;
  }
}

/** The least loaded for its speed comes first, then the fastest, then the least loaded: Nix's order, in which loads are rounded. */
function compareCandidates(left: Candidate, right: Candidate): number {
  const relative = ({ load, machine }: Candidate) => Math.floor(load / machine.speed);
  return (
    relative(left) - relative(right) || right.machine.speed - left.machine.speed || left.load - right.load
  );
}
