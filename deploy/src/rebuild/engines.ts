import type { EngineName } from './engine-name.js';
import { LarderEvaluator } from './larder-evaluator.js';
import type { LarderRealiserOptions } from './larder-realiser.js';
import type { Evaluator, Realiser } from './pipeline.js';

export interface EngineChoice extends LarderRealiserOptions {
  readonly evaluator: EngineName;
  readonly realiser: EngineName;
}

export interface Engines extends AsyncDisposable {
  readonly evaluator: Evaluator;
  readonly realiser: Realiser;
}

/** The engines behind the pipeline, bound to the machine's store. Code that is not needed is not loaded. */
export async function openEngines(choice: EngineChoice): Promise<Engines> {
  const realiser =
    choice.realiser === 'nix'
      ? new (await import('./nix-realiser.js')).NixRealiser(choice)
      : new LateRealiser(choice);
  const evaluator =
    choice.evaluator === 'nix'
      ? new (await import('./nix-evaluator.js')).NixEvaluator(choice)
      : new LarderEvaluator(choice);
  return { evaluator, realiser, [Symbol.asyncDispose]: () => realiser.close() };
}

/** Opens the store when it is first needed: a rebuild that changes nothing never does. */
class LateRealiser implements Realiser {
  readonly #options: LarderRealiserOptions;
  #opened: Promise<Realiser> | undefined;

  constructor(options: LarderRealiserOptions) {
    this.#options = options;
  }

  async plan(...args: Parameters<Realiser['plan']>) {
    return (await this.#open()).plan(...args);
  }

  async realise(...args: Parameters<Realiser['realise']>) {
    return (await this.#open()).realise(...args);
  }

  async isValid(...args: Parameters<Realiser['isValid']>) {
    return (await this.#open()).isValid(...args);
  }

  async queryClosure(...args: Parameters<Realiser['queryClosure']>) {
    return (await this.#open()).queryClosure(...args);
  }

  async close(): Promise<void> {
    if (this.#opened !== undefined) await (await this.#opened).close();
  }

  #open(): Promise<Realiser> {
    this.#opened ??= import('./larder-realiser.js').then(({ LarderRealiser }) =>
      LarderRealiser.open(this.#options),
    );
    return this.#opened;
  }
}
