import { AtermReader, escapeAterm } from './aterm.js';
import {
  type ContentAddress,
  type ContentAddressMethod,
  makeContentAddressedPath,
  makeTextPath,
  outputPathName,
} from './content-address.js';
import { LarderError } from './errors.js';
import { computeHash, type HashAlgorithm, isHashAlgorithm, parseHash } from './hash.js';
import { type StoreDir, type StorePath, storePathName } from './store-path.js';

/** How an output gets its path. */
export type DerivationOutput =
  /** Named by the derivation's inputs. */
  | { readonly type: 'input-addressed'; readonly path: StorePath }
  /** Its contents are known beforehand. */
  | { readonly type: 'fixed'; readonly ca: ContentAddress }
  /** Content-addressed once it is built. */
  | { readonly type: 'floating'; readonly method: ContentAddressMethod; readonly algorithm: HashAlgorithm }
  /** Input-addressed, but an input's own path is not known before it is built. */
  | { readonly type: 'deferred' }
  /** As floating, and different at every build. */
  | { readonly type: 'impure'; readonly method: ContentAddressMethod; readonly algorithm: HashAlgorithm };

/** A store derivation: one build step, as a `.drv` file holds it. */
export interface Derivation {
  /** The store path's name without `.drv`. */
  readonly name: string;
  readonly outputs: ReadonlyMap<string, DerivationOutput>;
  /** Which outputs of which derivations the build reads. */
  readonly inputDerivations: ReadonlyMap<StorePath, ReadonlySet<string>>;
  readonly inputSources: ReadonlySet<StorePath>;
  /** `x86_64-linux`, `builtin`, … */
  readonly system: string;
  /** A full path, or `builtin:…`. */
  readonly builder: string;
  readonly args: readonly string[];
  readonly env: ReadonlyMap<string, string>;
}

const METHOD_PREFIXES: Readonly<Record<ContentAddressMethod, string>> = {
  flat: '',
  recursive: 'r:',
  text: 'text:',
  git: 'git:',
};

/** What to write otherwise than the derivation says, when it is hashed rather than stored. */
export interface FormatDerivationOptions {
  /** Empty the output paths, and the variables that repeat them. */
  readonly maskOutputs?: boolean;
  /** Stands for `inputDerivations`: base-16 hashes modulo, with the outputs wanted of each. */
  readonly inputHashes?: ReadonlyMap<string, ReadonlySet<string>>;
  /** The derivation's own variables, quoted once for several texts of it. */
  readonly variables?: QuotedVariables | undefined;
}

/** Variables in their order, each as it stands in an ATerm; those named like an output are written anew. */
export type QuotedVariables = readonly (readonly [key: string, text: string])[];

/** Quotes a derivation's variables, most of its text, for `formatDerivation` to use more than once. */
export function quoteVariables(env: ReadonlyMap<string, string>): QuotedVariables {
  return sortedEntries(env).map(([key, value]) => [key, quoteVariable(key, value)]);
}

function quoteVariable(key: string, value: string): string {
  return `(${escapeAterm(key)},${escapeAterm(value)})`;
}

/** Writes the ATerm of a derivation, byte for byte as Nix does. Format: `Derivation::unparse`. */
export function formatDerivation(
  derivation: Derivation,
  storeDir: StoreDir,
  options: FormatDerivationOptions = {},
): string {
  const { maskOutputs = false } = options;
  const outputs = sortedEntries(derivation.outputs).map(
    ([name, output]) =>
      `(${escapeAterm(name)},${formatOutput(derivation.name, name, { output, storeDir, maskOutputs })})`,
  );
  const inputs: [string, ReadonlySet<string>][] =
    options.inputHashes === undefined
      ? sortedEntries(derivation.inputDerivations).map(([path, names]) => [storeDir.format(path), names])
      : sortedEntries(options.inputHashes);
  const formattedInputs = inputs.map(
    ([input, names]) => `("${input}",${list([...names].sort(byBytes).map(escapeAterm))})`,
  );
  const sources = [...derivation.inputSources].sort().map((path) => `"${storeDir.format(path)}"`);
  const env = (options.variables ?? quoteVariables(derivation.env)).map(([key, text]) => {
    if (!derivation.outputs.has(key)) return text;
    return quoteVariable(key, maskOutputs ? '' : derivation.env.get(key)!);
  });
  const parts = [
    list(outputs),
    list(formattedInputs),
    list(sources),
    escapeAterm(derivation.system),
    escapeAterm(derivation.builder),
    list(derivation.args.map(escapeAterm)),
    list(env),
  ];
  return `Derive(${parts.join(',')})`;
}

interface OutputContext {
  readonly output: DerivationOutput;
  readonly storeDir: StoreDir;
  readonly maskOutputs: boolean;
}

function formatOutput(
  drvName: string,
  name: string,
  { output, storeDir, maskOutputs }: OutputContext,
): string {
  const { method, hash } = outputFields(output);
  const path = maskOutputs ? undefined : pathOfOutput(drvName, name, { found: output, storeDir });
  return `"${path === undefined ? '' : storeDir.format(path)}","${method}","${hash}"`;
}

/** What an output has beside its path wherever a derivation is written: how its hash is taken, and the hash itself. */
export function outputFields(output: DerivationOutput): { readonly method: string; readonly hash: string } {
  switch (output.type) {
    case 'input-addressed':
    case 'deferred':
      return { method: '', hash: '' };
    case 'fixed': {
      const { method, hash } = output.ca;
      return {
        method: `${METHOD_PREFIXES[method]}${hash.algorithm}`,
        hash: hash.format('base16', { prefix: false }),
      };
    }
    case 'floating':
      return { method: `${METHOD_PREFIXES[output.method]}${output.algorithm}`, hash: '' };
    case 'impure':
      return { method: `${METHOD_PREFIXES[output.method]}${output.algorithm}`, hash: 'impure' };
  }
}

function fixedOutputPath(
  drvName: string,
  output: string,
  { ca, storeDir }: { readonly ca: ContentAddress; readonly storeDir: StoreDir },
): StorePath {
  const name = outputPathName(drvName, output);
  const known = fixedPaths.get(ca);
  if (known !== undefined && known.name === name && known.storeDir === storeDir.path) return known.path;
  const path = makeContentAddressedPath(storeDir, name, ca);
  fixedPaths.set(ca, { name, storeDir: storeDir.path, path });
  return path;
}

/** The path each fixed output got last: it is asked for at every turn. */
const fixedPaths = new WeakMap<
  ContentAddress,
  { readonly name: string; readonly storeDir: string; readonly path: StorePath }
>();

/** The path of an output, or `undefined` where only a build can tell. */
export function derivationOutputPath(
  derivation: Derivation,
  output: string,
  storeDir: StoreDir,
): StorePath | undefined {
  return pathOfOutput(derivation.name, output, { found: derivation.outputs.get(output), storeDir });
}

function pathOfOutput(
  drvName: string,
  output: string,
  { found, storeDir }: { readonly found: DerivationOutput | undefined; readonly storeDir: StoreDir },
): StorePath | undefined {
  if (found?.type === 'input-addressed') return found.path;
  if (found?.type === 'fixed') return fixedOutputPath(drvName, output, { ca: found.ca, storeDir });
  return undefined;
}

/** The derivation's own store path: that of its ATerm as a text whose references are its inputs. */
export function computeDerivationPath(derivation: Derivation, storeDir: StoreDir): StorePath {
  return makeTextPath(storeDir, `${derivation.name}.drv`, {
    hash: computeHash('sha256', formatDerivation(derivation, storeDir)),
    references: derivationReferences(derivation),
  });
}

/** What the `.drv` file refers to: its input derivations and sources, sorted. */
export function derivationReferences(derivation: Derivation): StorePath[] {
  return [...new Set([...derivation.inputDerivations.keys(), ...derivation.inputSources])].sort();
}

/**
 * Parses a `.drv` file's text. `path` is its store path, from which the derivation takes its name.
 * @throws `derivation-malformed` with the position
 */
export function parseDerivation(text: string, path: StorePath, storeDir: StoreDir): Derivation {
  const reader = new AtermReader(text, `derivation ${path}`);
  const outputs = parseOutputs(reader, storeDir);
  reader.expect(',');
  const inputDerivations = new Map<StorePath, Set<string>>();
  reader.list(() => {
    reader.expect('(');
    const input = storeDir.parse(reader.string());
    reader.expect(',');
    inputDerivations.set(input, new Set(reader.strings()));
    reader.expect(')');
  });
  reader.expect(',');
  const inputSources = new Set(reader.strings().map((source) => storeDir.parse(source)));
  reader.expect(',');
  const system = reader.string();
  reader.expect(',');
  const builder = reader.string();
  reader.expect(',');
  const args = reader.strings();
  reader.expect(',');
  const env = new Map<string, string>();
  reader.list(() => {
    reader.expect('(');
    const key = reader.string();
    reader.expect(',');
    env.set(key, reader.string());
    reader.expect(')');
  });
  reader.expect(')');
  reader.end();
  const name = storePathName(path).replace(/\.drv$/, '');
  return { name, outputs, inputDerivations, inputSources, system, builder, args, env };
}

/**
 * The outputs that a `.drv` file's text names, with their paths where they are known. They stand at its start, and nothing
 * else is looked at. @throws `derivation-malformed` with the position
 */
export function parseDerivationOutputs(
  text: string,
  path: StorePath,
  storeDir: StoreDir,
): Map<string, StorePath | undefined> {
  const outputs = parseOutputs(new AtermReader(text, `derivation ${path}`), storeDir);
  const name = storePathName(path).replace(/\.drv$/, '');
  return new Map(
    [...outputs].map(([output, found]) => [output, pathOfOutput(name, output, { found, storeDir })]),
  );
}

function parseOutputs(reader: AtermReader, storeDir: StoreDir): Map<string, DerivationOutput> {
  reader.expect('Derive(');
  const outputs = new Map<string, DerivationOutput>();
  reader.list(() => {
    reader.expect('(');
    const name = reader.string();
    const fields = [1, 2, 3].map(() => {
      reader.expect(',');
      return reader.string();
    });
    reader.expect(')');
    outputs.set(name, parseOutput(fields, storeDir, reader));
  });
  return outputs;
}

function parseOutput(fields: readonly string[], storeDir: StoreDir, reader: AtermReader): DerivationOutput {
  const [path = '', methodAndAlgorithm = '', hash = ''] = fields;
  if (methodAndAlgorithm === '') {
    return path === '' ? { type: 'deferred' } : { type: 'input-addressed', path: storeDir.parse(path) };
  }
  const method = (['recursive', 'text', 'git', 'flat'] as const).find((each) =>
    methodAndAlgorithm.startsWith(METHOD_PREFIXES[each]),
  )!;
  const algorithm = methodAndAlgorithm.slice(METHOD_PREFIXES[method].length);
  if (!isHashAlgorithm(algorithm)) throw reader.malformed(`'${algorithm}' is no hash algorithm`);
  if (hash === 'impure') return { type: 'impure', method, algorithm };
  if (hash === '') return { type: 'floating', method, algorithm };
  return { type: 'fixed', ca: { method, hash: parseHash(hash, algorithm) } };
}

/** @throws `derivation-invalid` when outputs of different kinds are mixed, or a fixed one is not the only one and `out`. */
export function checkOutputs(derivation: Derivation): void {
  const types = new Set([...derivation.outputs.values()].map((output) => output.type));
  const fail = (why: string): never => {
    throw new LarderError('derivation-invalid', `derivation ${derivation.name}: ${why}`);
  };
  if (types.size === 0) fail('it has no outputs');
  if (types.size > 1) fail(`it mixes outputs of the types ${[...types].join(' and ')}`);
  if (types.has('fixed') && (derivation.outputs.size > 1 || !derivation.outputs.has('out'))) {
    fail("a fixed output must be its only one and be called 'out'");
  }
}

function list(items: readonly string[]): string {
  return `[${items.join(',')}]`;
}

function sortedEntries<Key extends string, Value>(map: ReadonlyMap<Key, Value>): [Key, Value][] {
  return [...map].sort(([a], [b]) => byBytes(a, b));
}

/** Nix sorts strings by their bytes; UTF-16 order differs only beyond the basic plane. */
export function byBytes(a: string, b: string): number {
  if (a === b) return 0;
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    if (left < 0xd800 || right < 0xd800) return left - right;
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  return a.length - b.length;
}
