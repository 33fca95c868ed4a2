import { LarderError } from '@larder/signing/errors';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { DerivationOptions } from '../derivation/derivation-options.js';
import { isJsonObject, type JsonObject } from '../derivation/json-value.js';

const lists = [
  'allowedReferences',
  'allowedRequisites',
  'disallowedReferences',
  'disallowedRequisites',
] as const;

interface Checks {
  /** Without structured attributes an output may always refer to itself in its closure. */
  readonly ignoreSelf: boolean;
  readonly maxSize?: bigint;
  readonly maxClosureSize?: bigint;
  readonly lists: ReadonlyMap<(typeof lists)[number], readonly string[]>;
}

/**
 * Checks what a derivation says its outputs may refer to and how large they may be.
 * @throws `output-rejected` naming the paths at fault
 */
export async function checkOutputs(
  store: LocalStore,
  outputs: ReadonlyMap<string, ValidPathInfo>,
  options: DerivationOptions,
): Promise<void> {
  const checker = new OutputChecker(store, outputs);
  for (const [name, info] of outputs) {
    const checks =
      options.structured === undefined ? plainChecks(options) : structuredChecks(options.structured, name);
    if (checks !== undefined) await checker.check(info, checks);
  }
}

function plainChecks(options: DerivationOptions): Checks {
  const found = lists.flatMap((name) => {
    const words = options.words(name);
    return words === undefined ? [] : [[name, words] as const];
  });
  return { ignoreSelf: true, lists: new Map(found) };
}

function structuredChecks(structured: JsonObject, output: string): Checks | undefined {
  const all = structured.get('outputChecks');
  const own = isJsonObject(all) ? all.get(output) : undefined;
  if (!isJsonObject(own)) return undefined;
  const found = lists.flatMap((name) => {
    const words = own.get(name);
    if (words === undefined) return [];
    if (!Array.isArray(words) || !words.every((each) => typeof each === 'string')) {
      throw rejected(`attribute '${name}' of the outputChecks of '${output}' must be a list of strings`);
    }
    return [[name, words as string[]] as const];
  });
  return { ignoreSelf: false, lists: new Map(found), ...sizes(own) };
}

function sizes(own: JsonObject): Pick<Checks, 'maxSize' | 'maxClosureSize'> {
  const [maxSize, maxClosureSize] = ['maxSize', 'maxClosureSize'].map((name) => {
    const value = own.get(name);
    return typeof value === 'bigint' ? value : undefined;
  });
  return { maxSize, maxClosureSize };
}

class OutputChecker {
  readonly #store: LocalStore;
  readonly #outputs: ReadonlyMap<string, ValidPathInfo>;
  readonly #byPath: ReadonlyMap<StorePath, ValidPathInfo>;

  constructor(store: LocalStore, outputs: ReadonlyMap<string, ValidPathInfo>) {
    this.#store = store;
    this.#outputs = outputs;
    this.#byPath = new Map([...outputs.values()].map((info) => [info.storePath, info]));
  }

  async check(info: ValidPathInfo, checks: Checks): Promise<void> {
    const path = this.#store.storeDir.format(info.storePath);
    if (checks.maxSize !== undefined && BigInt(info.narSize) > checks.maxSize) {
      throw rejected(
        `path '${path}' is too large at ${info.narSize} bytes; limit is ${checks.maxSize} bytes`,
      );
    }
    if (checks.maxClosureSize !== undefined) {
      const size = [...(await this.#closure(info.storePath)).values()].reduce(
        (sum, each) => sum + each.narSize,
        0,
      );
      if (BigInt(size) > checks.maxClosureSize) {
        throw rejected(
          `closure of path '${path}' is too large at ${size} bytes; limit is ${checks.maxClosureSize} bytes`,
        );
      }
    }
    for (const [name, words] of checks.lists)
      await this.#checkList(info, { name, words, ignoreSelf: checks.ignoreSelf });
  }

  async #checkList(
    info: ValidPathInfo,
    { name, words, ignoreSelf }: { name: string; words: readonly string[]; ignoreSelf: boolean },
  ): Promise<void> {
    const listed = new Set(words.map((word) => this.#resolve(word)));
    const recursive = name.endsWith('Requisites');
    const used = new Set(recursive ? (await this.#closure(info.storePath)).keys() : info.references);
    if (recursive && ignoreSelf) used.delete(info.storePath);
    const allowed = name.startsWith('allowed');
    const bad = [...used].filter((path) => listed.has(path) !== allowed).sort();
    if (bad.length === 0) return;
    const paths = bad.map((path) => `\n  ${this.#store.storeDir.format(path)}`).join('');
    const output = this.#store.storeDir.format(info.storePath);
    throw rejected(`output '${output}' is not allowed to refer to the following paths:${paths}`);
  }

  /** A store path, or the name of an output. */
  #resolve(word: string): StorePath {
    if (this.#store.storeDir.contains(word)) return this.#store.storeDir.parse(word);
    const output = this.#outputs.get(word);
    if (output !== undefined) return output.storePath;
    throw rejected(`derivation contains an illegal reference specifier '${word}'`);
  }

  /** The closure of an output, some of whose references are not valid yet. */
  async #closure(root: StorePath): Promise<Map<StorePath, ValidPathInfo>> {
    const closure = new Map<StorePath, ValidPathInfo>();
    const outside = new Set<StorePath>();
    const pending = [root];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (closure.has(path)) continue;
      const own = this.#byPath.get(path);
      if (own === undefined) {
        outside.add(path);
        continue;
      }
      closure.set(path, own);
      pending.push(...own.references);
    }
    for (const info of await this.#store.queryClosure(outside)) closure.set(info.storePath, info);
    return closure;
  }
}

function rejected(message: string): LarderError {
  return new LarderError('output-rejected', message);
}
