import { LarderError } from './errors.js';
import { formatSignature, parseSignature } from './signature.js';
import { parseStorePath, type StorePath } from './store-path.js';

/**
 * Which path an output of a derivation came out as. `id` tells the generation of the format: up to Nix 2.34 it is
 * `sha256:<base-16 hash modulo>!<output>`; from 2.35 `<drv base name>^<output>`.
 */
export interface Realisation {
  readonly id: string;
  readonly outPath: StorePath;
  /** Each `keyname:base64`. */
  readonly signatures: readonly string[];
  /** By id, for the older generation only. */
  readonly dependentRealisations: Readonly<Record<string, StorePath>>;
}

/** Where caches keep a realisation of the older generation, relative to their root. */
export function realisationKey(id: string): string {
  return `realisations/${id}.doi`;
}

/** Where caches keep a realisation of the newer generation. */
export function buildTraceKey(derivation: StorePath, output: string): string {
  return `build-trace-v2/${derivation}/${output}.doi`;
}

/**
 * Parses `realisations/<id>.doi`.
 * @throws `realisation-malformed`
 */
export function parseRealisation(text: string, source = 'realisation'): Realisation {
  const document = parseObject(text, source);
  if (typeof document.id !== 'string' || !/^(md5|sha1|sha256|sha512):[0-9a-z]+![^!/]+$/.test(document.id)) {
    throw malformed(source, "its id is not of the form 'sha256:<hash>!<output>'");
  }
  const dependents = Object.entries((document.dependentRealisations ?? {}) as Record<string, unknown>);
  return {
    id: document.id,
    outPath: readPath(document.outPath, source),
    signatures: readSignatures(document.signatures, source),
    dependentRealisations: Object.fromEntries(dependents.map(([id, path]) => [id, readPath(path, source)])),
  };
}

/** Writes the older generation, with keys in the order Nix's JSON library gives them. */
export function formatRealisation(realisation: Realisation): string {
  return JSON.stringify({
    dependentRealisations: sorted(realisation.dependentRealisations),
    id: realisation.id,
    outPath: realisation.outPath,
    signatures: [...realisation.signatures].sort(),
  });
}

/** The text that signatures of the older generation are over: the same without them. */
export function formatRealisationFingerprint(realisation: Realisation): string {
  return JSON.stringify({
    dependentRealisations: sorted(realisation.dependentRealisations),
    id: realisation.id,
    outPath: realisation.outPath,
  });
}

/**
 * Parses `build-trace-v2/<drv>/<output>.doi`, which has no key of its own; `id` is made from where it is.
 * @throws `realisation-malformed`
 */
export function parseBuildTrace(
  text: string,
  at: { readonly derivation: StorePath; readonly output: string },
): Realisation {
  const id = `${at.derivation}^${at.output}`;
  const document = parseObject(text, id);
  return {
    id,
    outPath: readPath(document.outPath, id),
    signatures: readSignatures(document.signatures, id),
    dependentRealisations: {},
  };
}

/** Writes the newer generation: signatures are objects. */
export function formatBuildTrace(realisation: Realisation): string {
  const signatures = [...realisation.signatures].sort().map((text) => {
    const { keyName, bytes } = parseSignature(text);
    return { keyName, sig: Buffer.from(bytes).toString('base64') };
  });
  return JSON.stringify({ outPath: realisation.outPath, signatures });
}

/** The text that signatures of the newer generation are over. */
export function formatBuildTraceFingerprint(
  outPath: StorePath,
  key: { readonly derivation: StorePath; readonly output: string },
): string {
  return JSON.stringify({ key: { drvPath: key.derivation, outputName: key.output }, value: { outPath } });
}

function parseObject(text: string, source: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document === 'object' && document !== null && !Array.isArray(document)) {
      return document as Record<string, unknown>;
    }
  } catch (error) {
    throw malformed(source, 'it is not JSON', error);
  }
  throw malformed(source, 'it is no JSON object');
}

function readPath(value: unknown, source: string): StorePath {
  if (typeof value !== 'string') throw malformed(source, 'a store path is missing');
  try {
    return parseStorePath(value);
  } catch (error) {
    throw malformed(source, (error as Error).message, error);
  }
}

/** Strings in the older generation, objects with `keyName` and `sig` in the newer; both are read. */
function readSignatures(value: unknown, source: string): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw malformed(source, 'its signatures are not a list');
  return value.map((each: unknown) => {
    const text = typeof each === 'string' ? each : signatureOfObject(each);
    if (text === undefined)
      throw malformed(source, 'a signature is neither a string nor an object with keyName and sig');
    return formatSignature(parseSignature(text));
  });
}

function signatureOfObject(value: unknown): string | undefined {
  const { keyName, sig } = (value ?? {}) as { keyName?: unknown; sig?: unknown };
  return typeof keyName === 'string' && typeof sig === 'string' ? `${keyName}:${sig}` : undefined;
}

function sorted(record: Readonly<Record<string, StorePath>>): Record<string, StorePath> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function malformed(source: string, why: string, cause?: unknown): LarderError {
  return new LarderError('realisation-malformed', `${source}: ${why}`, { cause, fields: { source } });
}
