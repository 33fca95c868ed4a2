import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { formatBytes } from './units.js';

/** Counts what a copy fetched, for `--stats`. */
export class CopyStats {
  #archives = 0;
  #deltas = 0;
  #fetched = 0;
  #saved = 0;

  note(event: CopyEvent): void {
    if (event.type !== 'finished' || event.fetched === undefined) return;
    this.#fetched += event.fetched;
    if (event.delta !== true) {
      this.#archives++;
      return;
    }
    this.#deltas++;
    this.#saved += (event.fileSize ?? event.fetched) - event.fetched;
  }

  /** A line for a person, or with `--json` one more event. */
  print({ json }: { readonly json?: boolean }): void {
    const [archives, deltas, fetched, saved] = [this.#archives, this.#deltas, this.#fetched, this.#saved];
    if (json === true) {
      process.stdout.write(`${JSON.stringify({ type: 'stats', archives, deltas, fetched, saved })}\n`);
      return;
    }
    const share = saved > 0 ? ` (${Math.round((100 * saved) / (fetched + saved))} %)` : '';
    process.stderr.write(
      `fetched ${formatBytes(fetched)}: ${archives} archives, ${deltas} deltas that saved ${formatBytes(saved)}${share}\n`,
    );
  }
}
