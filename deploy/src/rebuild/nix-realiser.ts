import { LarderError } from '@larder/signing/errors';
import { type NixResult, runNix, settingArguments, storeArguments } from './nix-process.js';
import type { ClosurePath, EngineOptions, RealisationPlan, Realiser } from './pipeline.js';

/** Realisation by an installed Nix (`nix-store`). */
export class NixRealiser implements Realiser {
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  async plan(derivation: string, signal?: AbortSignal): Promise<RealisationPlan> {
    const result = await this.#run('nix-store', ['--realise', '--dry-run', derivation], { signal });
    return parsePlan(check(result, 'realisation-failed').errors);
  }

  async realise(derivation: string, signal?: AbortSignal): Promise<string> {
    const { status, output } = await this.#run('nix-store', ['--realise', derivation], {
      showErrors: true,
      signal,
    });
    if (status !== 0) throw new LarderError('realisation-failed', `${derivation} could not be realised`);
    return output.trim().split('\n')[0]!;
  }

  async isValid(path: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#run('nix-store', ['--check-validity', path], { signal })).status === 0;
  }

  async queryClosure(path: string, signal?: AbortSignal): Promise<ClosurePath[]> {
    const args = ['--extra-experimental-features', 'nix-command', 'path-info', '--recursive', '--size', path];
    const { output } = check(await this.#run('nix', args, { signal }), 'closure-unknown');
    return output
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .map(([each, size]) => ({ path: each!, narSize: Number(size) }));
  }

  async close(): Promise<void> {}

  async #run(
    program: string,
    args: readonly string[],
    options: { readonly showErrors?: boolean; readonly signal?: AbortSignal },
  ): Promise<NixResult> {
    const settings = settingArguments(this.#options.settings);
    return runNix([program, ...args, ...storeArguments(this.#options.root), ...settings], options);
  }
}

function check(result: NixResult, code: string): NixResult {
  if (result.status !== 0) throw new LarderError(code, result.errors.trim().replace(/^error:\s*/, ''));
  return result;
}

const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** What `nix-store --realise --dry-run` says: two lists, the second with sizes. */
export function parsePlan(text: string): RealisationPlan {
  const lists: Record<'build' | 'fetch', string[]> = { build: [], fetch: [] };
  const sizes: { download?: number; unpacked?: number } = {};
  let list: 'build' | 'fetch' | undefined;
  for (const line of text.split('\n')) {
    if (/derivations? will be built/.test(line)) list = 'build';
    else if (/paths? will be fetched/.test(line)) {
      list = 'fetch';
      const [, download, downloadUnit, unpacked, unpackedUnit] =
        /\(([\d.]+) (\wiB) download, ([\d.]+) (\wiB) unpacked\)/.exec(line) ?? [];
      if (download !== undefined) sizes.download = Number(download) * UNITS[downloadUnit!]!;
      if (unpacked !== undefined) sizes.unpacked = Number(unpacked) * UNITS[unpackedUnit!]!;
    } else if (list !== undefined && /^ {2}\//.test(line)) lists[list].push(line.trim());
    else list = undefined;
  }
  return {
    toBuild: lists.build,
    toFetch: lists.fetch,
    downloadSize: sizes.download,
    unpackedSize: sizes.unpacked,
  };
}
