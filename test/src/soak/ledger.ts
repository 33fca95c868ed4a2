import type { SamplePath } from '../server/sample-path.js';

/** Paths that were pushed together: the last refers to the others. */
export type Release = readonly SamplePath[];

/** What the servers said that they have, and what they therefore must have. */
export class Ledger {
  readonly #grace: number;
  readonly #acknowledged = new Map<string, number>();
  readonly #pins = new Map<string, Release>();
  readonly #given = new Set<string>();
  readonly #loose: Release[] = [];
  pushed = 0;

  /** @param grace milliseconds that what was pushed stays at least */
  constructor(grace: number) {
    this.#grace = grace;
  }

  /** Counts from before the last question to the server: it may have recorded them at any time since. */
  acknowledge(release: Release, since: number): void {
    for (const { hashPart } of release) this.#acknowledged.set(hashPart, since);
    this.pushed += release.length;
  }

  /** What a pin named before may go from now on: to be called before the server is asked to pin something else. */
  release(pin: string): void {
    const before = this.#pins.get(pin);
    this.#pins.delete(pin);
    if (before !== undefined) this.#loose.push(before);
  }

  pin(name: string, release: Release): void {
    this.#pins.set(name, release);
  }

  /** One that nothing keeps, to be deleted; its last path is given up before the server is asked. */
  takeLoose(): Release | undefined {
    const release = this.#loose.shift();
    const last = release?.at(-1);
    if (last !== undefined) this.#given.add(last.hashPart);
    return release;
  }

  get pinned(): readonly Release[] {
    return [...this.#pins.values()];
  }

  /** Whether the server must have this path now. */
  mustHave(hashPart: string): boolean {
    for (const release of this.#pins.values())
      if (release.some((path) => path.hashPart === hashPart)) return true;
    const since = this.#acknowledged.get(hashPart);
    return since !== undefined && !this.#given.has(hashPart) && Date.now() < since + this.#grace;
  }

  /** The paths that must be there for good. */
  get kept(): readonly SamplePath[] {
    return [...new Set(this.pinned.flat())];
  }
}
