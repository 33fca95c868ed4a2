/** Most that are remembered; the oldest are forgotten first. */
const CAPACITY = 200_000;

/** What upstreams do not have, each for a while. */
export class Absences {
  /** When each is to be asked again, in the order of their coming. */
  readonly #until = new Map<string, number>();

  /** @param lifetime milliseconds */
  add(key: string, lifetime: number): void {
    this.#until.delete(key);
    this.#until.set(key, Date.now() + lifetime);
    if (this.#until.size <= CAPACITY) return;
    const [oldest] = this.#until.keys();
    if (oldest !== undefined) this.#until.delete(oldest);
  }

  has(key: string): boolean {
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (until > Date.now()) return true;
    this.#until.delete(key);
    return false;
  }
}
