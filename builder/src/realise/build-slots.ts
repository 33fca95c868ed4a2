import type { MachineNeeds } from '../machines/build-machine.js';
import type { MachineSlot, MachineSlots } from '../machines/machine-slots.js';

/** Where a build may run. */
export interface SlotNeeds {
  /** Whether it may on this machine. */
  readonly local: boolean;
  /** What another one must have; absent when it must not go elsewhere. */
  readonly machine?: MachineNeeds;
}

/** A place for one build, held until it is released. Without a machine it is here. */
export type BuildSlot = Pick<MachineSlot, 'release'> & { readonly machine?: MachineSlot['machine'] };

interface Waiter {
  readonly needs: SlotNeeds;
  readonly resolve: (slot: BuildSlot | undefined) => void;
  readonly reject: (reason: unknown) => void;
}

/** How often machines are looked at that builders of other processes keep busy, in milliseconds. */
const poll = 1000;

/**
 * Gives builds their places, first come, first served: on another machine as long as one fits and is free, else here. Whoever
 * may run on either takes what is free first.
 */
export class BuildSlots {
  readonly #machines: MachineSlots | undefined;
  readonly #waiting = new Set<Waiter>();
  readonly #signal: AbortSignal;
  #free: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    local: number,
    { machines, signal }: { machines: MachineSlots | undefined; signal: AbortSignal },
  ) {
    this.#free = local;
    this.#machines = machines;
    this.#signal = signal;
  }

  /** Waits for a place; `undefined` when there is none of the kind at all. */
  take(needs: SlotNeeds): Promise<BuildSlot | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ needs, resolve, reject });
      if (this.#signal.aborted) this.#rejectAll();
      else this.#serve(new Set());
    });
  }

  /** @param busy kinds of machines that were all found busy, not to be looked at again for everyone who waits */
  #serve(busy: Set<string>): void {
    for (const waiter of this.#waiting) {
      if (this.#free === 0 && this.#machines === undefined) break;
      const slot = this.#place(waiter.needs, busy);
      if (slot === 'none-yet') continue;
      this.#waiting.delete(waiter);
      waiter.resolve(slot);
    }
    this.#watch(busy);
  }

  #place({ local, machine: needs }: SlotNeeds, busy: Set<string>): BuildSlot | undefined | 'none-yet' {
    let mayComeFree = local;
    if (needs !== undefined && this.#machines !== undefined) {
      const kind = JSON.stringify(needs);
      const taken = busy.has(kind) ? 'busy' : this.#machines.take(needs);
      if (typeof taken !== 'string') return { ...taken, release: () => this.#release(() => taken.release()) };
      if (taken === 'busy') busy.add(kind);
      mayComeFree ||= taken === 'busy';
    }
    if (local && this.#free > 0) {
      this.#free--;
      return { release: () => this.#release(() => this.#free++) };
    }
    return mayComeFree ? 'none-yet' : undefined;
  }

  #release(free: () => void): void {
    free();
    this.#serve(new Set());
  }

  /**
   * Machines that others use come free without a word. The signal is listened to only while somebody waits: it is of a whole
   * evaluation, which may ask for builds many times.
   */
  #watch(busy: ReadonlySet<string>): void {
    clearTimeout(this.#timer);
    if (this.#waiting.size === 0) {
      this.#signal.removeEventListener('abort', this.#rejectAll);
      return;
    }
    this.#signal.addEventListener('abort', this.#rejectAll);
    if (busy.size > 0) this.#timer = setTimeout(() => this.#serve(new Set()), poll);
  }

  readonly #rejectAll = (): void => {
    clearTimeout(this.#timer);
    for (const waiter of this.#waiting) waiter.reject(this.#signal.reason);
    this.#waiting.clear();
  };
}
