/** The latest so many answers tell what is slow. */
const windowSize = 100;

/** Answers before which nothing is known. */
const fewestAnswers = 20;

/** Milliseconds that anything may take without being slow. */
const shortestWait = 30;

/** Second requests there may be for each first one, and how many may be saved up. */
const share = 0.05;
const mostSaved = 10;

/**
 * One request; the second of the same is to use another connection. It should stop when the signal says so: the other one
 * was faster.
 */
export type HedgedAttempt<T> = (isSecond: boolean, signal: AbortSignal) => Promise<T>;

interface Race<T> {
  readonly attempt: HedgedAttempt<T>;
  readonly losers: AbortController;
}

/**
 * Sends a request a second time when it is slower than 19 of 20 were, and takes whichever answer is there first: a
 * connection that hangs, or one server of many that is busy, then costs no more than a wait. Never more than one request in
 * twenty, so a server that is slow as a whole is not asked to do twice the work.
 */
export class Hedge {
  readonly #times: number[] = [];
  #next = 0;
  #saved = mostSaved / 2;
  /** Of the times, sorted; made when it is needed. */
  #slow: number | undefined;

  /** Milliseconds after which an answer counts as slow; undefined before enough is known. */
  get slow(): number | undefined {
    if (this.#times.length < fewestAnswers) return undefined;
    this.#slow ??= [...this.#times].sort((a, b) => a - b)[Math.floor(this.#times.length * 0.95)]!;
    return Math.max(shortestWait, this.#slow);
  }

  /** Runs `attempt`, and runs it again if need be. @throws what the first one did, if both fail */
  async run<T>(attempt: HedgedAttempt<T>): Promise<T> {
    this.#saved = Math.min(mostSaved, this.#saved + share);
    const started = performance.now();
    const losers = new AbortController();
    const wait = this.slow;
    const first = attempt(false, losers.signal);
    const answer = await (wait === undefined ? first : this.#race(first, wait, { attempt, losers }));
    this.#note(performance.now() - started);
    return answer;
  }

  async #race<T>(first: Promise<T>, wait: number, { attempt, losers }: Race<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, wait, 'late');
    });
    try {
      const winner = await Promise.race([first.then((value) => ({ value })), late]);
      if (winner !== 'late') return winner.value;
    } finally {
      clearTimeout(timer);
    }
    if (this.#saved < 1) return first;
    this.#saved--;
    try {
      return await Promise.any([first, attempt(true, losers.signal)]);
    } catch {
      return await first;
    } finally {
      // Its connection goes with it. What else waits there for an answer behind it is asked anew.
      losers.abort();
    }
  }

  #note(time: number): void {
    this.#times[this.#next] = time;
    this.#next = (this.#next + 1) % windowSize;
    this.#slow = undefined;
  }
}
