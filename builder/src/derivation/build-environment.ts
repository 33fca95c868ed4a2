import type { Derivation } from '@larder/signing/derivation';
import { outputPlaceholder } from '@larder/signing/derivation-hash';
import { LarderError } from '@larder/signing/errors';
import { computeHash } from '@larder/signing/hash';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { type DerivationOptions, splitWords } from './derivation-options.js';
import { isJsonObject, type JsonObject, type JsonValue } from './json-value.js';
import { describeReferencesGraph, formatReferencesGraph, queryReferencesGraph } from './references-graph.js';
import { type Rewrites, rewriteBytes } from './rewrite.js';
import { formatAttributesJson, formatAttributesShell } from './structured-attributes.js';

/** What a build is told: all strings are byte strings (latin1). */
export interface BuildEnvironment {
  readonly variables: ReadonlyMap<string, string>;
  /** Files in the build's temporary directory, by name. */
  readonly files: ReadonlyMap<string, string>;
  readonly args: readonly string[];
}

export interface EnvironmentOptions {
  readonly store: LocalStore;
  readonly options: DerivationOptions;
  /** The closure of everything the build may read. */
  readonly inputs: ReadonlySet<StorePath>;
  /** The temporary directory as the build sees it. */
  readonly directory: string;
  readonly cores: number;
  readonly rewrites: Rewrites;
  /** The caller's own environment, of which fixed-output builds may ask for parts (`impureEnvVars`). */
  readonly hostEnvironment: Readonly<Record<string, string | undefined>>;
}

/**
 * Composes the environment Nix gives a builder. Reference: the manual, "Realising store derivations" and
 * "Builder execution".
 * @throws `derivation-invalid`
 */
export async function composeEnvironment(
  derivation: Derivation,
  settings: EnvironmentOptions,
): Promise<BuildEnvironment> {
  const { directory, rewrites, options } = settings;
  const variables = new Map<string, string>([
    // Shells would fall back to a path of their own, and programs would look for a home in /etc/passwd.
    ['PATH', '/path-not-set'],
    ['HOME', '/homeless-shelter'],
    ['NIX_STORE', settings.store.storeDir.path],
    ['NIX_BUILD_CORES', String(settings.cores)],
  ]);
  const files = new Map<string, string>();
  if (options.structured === undefined) passAttributes(derivation, { variables, files, directory });
  variables.set('NIX_BUILD_TOP', directory);
  for (const name of ['TMPDIR', 'TEMPDIR', 'TMP', 'TEMP', 'PWD']) variables.set(name, directory);
  if (isFixed(derivation)) passImpurities(variables, settings);
  variables.set('NIX_LOG_FD', '2');
  variables.set('TERM', 'xterm-256color');
  if (options.structured === undefined) await exportGraphs(derivation, files, settings);
  else await passStructured(derivation, { variables, files, structured: options.structured }, settings);
  return {
    variables: new Map([...variables].map(([name, value]) => [name, rewriteBytes(value, rewrites)])),
    files: new Map([...files].map(([name, value]) => [name, rewriteBytes(value, rewrites)])),
    args: derivation.args.map((arg) => rewriteBytes(arg, rewrites)),
  };
}

/** Whether the output's contents are given, so that the build may use the network. */
export function isFixed(derivation: Derivation): boolean {
  return [...derivation.outputs.values()].some((output) => output.type === 'fixed');
}

interface Passed {
  readonly variables: Map<string, string>;
  readonly files: Map<string, string>;
}

function passAttributes(
  derivation: Derivation,
  { variables, files, directory }: Passed & { directory: string },
) {
  const asFile = new Set(splitWords(derivation.env.get('passAsFile') ?? ''));
  for (const [name, value] of derivation.env) {
    if (!asFile.has(name)) {
      variables.set(name, value);
      continue;
    }
    const hash = computeHash('sha256', Buffer.from(name, 'latin1'));
    const file = `.attr-${hash.format('nix32', { prefix: false })}`;
    files.set(file, value);
    variables.set(`${name}Path`, `${directory}/${file}`);
  }
}

function passImpurities(
  variables: Map<string, string>,
  { options, hostEnvironment }: EnvironmentOptions,
): void {
  variables.set('NIX_OUTPUT_CHECKED', '1');
  for (const name of options.words('impureEnvVars') ?? []) {
    variables.set(name, Buffer.from(hostEnvironment[name] ?? '').toString('latin1'));
  }
}

async function exportGraphs(
  derivation: Derivation,
  files: Map<string, string>,
  { store, inputs }: EnvironmentOptions,
): Promise<void> {
  const words = splitWords(derivation.env.get('exportReferencesGraph') ?? '');
  if (words.length % 2 !== 0) throw invalid(derivation, "odd number of tokens in 'exportReferencesGraph'");
  for (let at = 0; at < words.length; at += 2) {
    const name = words[at]!;
    const path = words[at + 1]!;
    if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) {
      throw invalid(derivation, `invalid file name '${name}' in 'exportReferencesGraph'`);
    }
    if (!path.startsWith(`${store.storeDir.path}/`)) {
      throw invalid(derivation, `'exportReferencesGraph' contains a non-store path '${path}'`);
    }
    const graph = await queryReferencesGraph(store, [store.storeDir.parseWithin(path).storePath], inputs);
    files.set(name, formatReferencesGraph(graph, store.storeDir));
  }
}

async function passStructured(
  derivation: Derivation,
  { variables, files, structured }: Passed & { structured: JsonObject },
  { store, inputs, directory }: EnvironmentOptions,
): Promise<void> {
  const attributes = new Map<string, JsonValue>(structured);
  const placeholders = [...derivation.outputs.keys()].map((name): [string, string] => [
    name,
    outputPlaceholder(name),
  ]);
  attributes.set('outputs', new Map(placeholders));
  const graphs = structured.get('exportReferencesGraph');
  for (const [name, paths] of isJsonObject(graphs) ? graphs : []) {
    const full = (Array.isArray(paths) ? paths : [paths]) as readonly JsonValue[];
    const roots = full.map((path) => store.storeDir.parse(String(path)));
    attributes.set(
      name,
      describeReferencesGraph(await queryReferencesGraph(store, roots, inputs), store.storeDir),
    );
  }
  files.set('.attrs.sh', Buffer.from(formatAttributesShell(attributes)).toString('latin1'));
  files.set('.attrs.json', Buffer.from(formatAttributesJson(attributes)).toString('latin1'));
  variables.set('NIX_ATTRS_SH_FILE', `${directory}/.attrs.sh`);
  variables.set('NIX_ATTRS_JSON_FILE', `${directory}/.attrs.json`);
}

function invalid(derivation: Derivation, why: string): LarderError {
  return new LarderError('derivation-invalid', `derivation ${derivation.name}: ${why}`);
}
