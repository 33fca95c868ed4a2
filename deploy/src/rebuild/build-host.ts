import { LarderError } from '@larder/signing/errors';
import { MachineRoot } from '../activate/machine-root.js';
import { readOutputPath } from './output-path.js';
import type { RealisationPlan, Realiser } from './pipeline.js';
import type { RemoteCopyOptions } from './remote-copy.js';
import type { RemoteHost } from './remote-host.js';

/** Realisation on another machine, whose result is copied here. What it takes there is not known beforehand. */
export class BuildHostRealiser implements Realiser {
  readonly #here: Realiser;
  readonly #host: RemoteHost;
  readonly #options: RemoteCopyOptions & { readonly report: (text: string) => void };

  constructor(
    here: Realiser,
    host: RemoteHost,
    options: RemoteCopyOptions & { readonly report: (text: string) => void },
  ) {
    this.#here = here;
    this.#host = host;
    this.#options = options;
  }

  async plan(): Promise<RealisationPlan> {
    return { toBuild: [], toFetch: [] };
  }

  /** @throws `output-absent` for a content-addressed system, `daemon-refused` with what failed there */
  async realise(derivation: string, signal?: AbortSignal): Promise<string> {
    const { root, report } = this.#options;
    const output = await readOutputPath(new MachineRoot(root), derivation);
    if (output === undefined)
      throw new LarderError('output-absent', `${derivation} does not say where its output will be`);
    report(`Building on ${this.#host.name}`);
    const { realiseRemotely } = await import('./remote-copy.js');
    await realiseRemotely({ derivation, output, host: this.#host.storeUri }, { ...this.#options, signal });
    return output;
  }

  isValid(...args: Parameters<Realiser['isValid']>) {
    return this.#here.isValid(...args);
  }

  queryClosure(...args: Parameters<Realiser['queryClosure']>) {
    return this.#here.queryClosure(...args);
  }

  close(): Promise<void> {
    return this.#here.close();
  }
}
