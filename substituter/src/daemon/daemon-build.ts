import { type Derivation, derivationOutputPath, outputFields } from '@larder/signing/derivation';
import { parseRealisation } from '@larder/signing/realisation';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { type WireReader, type WireWriter, withoutColours } from './wire.js';

/** How a build at a daemon ended; the order is that of the numbers on the wire. */
const STATUSES = [
  'built',
  'substituted',
  'already-valid',
  'permanent-failure',
  'input-rejected',
  'output-rejected',
  'transient-failure',
  'cached-failure',
  'timed-out',
  'misc-failure',
  'dependency-failed',
  'log-limit-exceeded',
  'not-deterministic',
  'resolves-to-already-valid',
  'no-substituters',
  'hash-mismatch',
] as const;

export type DaemonBuildStatus = (typeof STATUSES)[number] | 'unknown';

const SUCCESSES: readonly DaemonBuildStatus[] = [
  'built',
  'substituted',
  'already-valid',
  'resolves-to-already-valid',
];

/** What a daemon says of a build that it was asked for. */
export interface DaemonBuildResult {
  readonly status: DaemonBuildStatus;
  readonly succeeded: boolean;
  /** The daemon's own account of a failure. */
  readonly message: string;
  /** By output name, as far as it tells: what outputs came out as whose paths only the build gives. */
  readonly outputs: ReadonlyMap<string, StorePath>;
}

/**
 * Writes a derivation without its input derivations, whose outputs are among its sources. Its strings are byte strings.
 * Format: `writeDerivation` of a `BasicDerivation`.
 */
export function writeBasicDerivation(writer: WireWriter, derivation: Derivation, storeDir: StoreDir): void {
  writer.number(derivation.outputs.size);
  for (const [name, output] of sorted(derivation.outputs)) {
    const path = derivationOutputPath(derivation, name, storeDir);
    const { method, hash } = outputFields(output);
    writer.string(name).string(path === undefined ? '' : storeDir.format(path));
    writer.string(method).string(hash);
  }
  writer.strings([...derivation.inputSources].sort().map((path) => storeDir.format(path)));
  writer.byteString(derivation.system).byteString(derivation.builder);
  writer.number(derivation.args.length);
  for (const argument of derivation.args) writer.byteString(argument);
  writer.number(derivation.env.size);
  for (const [name, value] of sorted(derivation.env)) writer.byteString(name).byteString(value);
}

/** Reads the answer to `buildDerivation`. Format: `BuildResult`, of protocol versions 1.32 to 1.38. */
export async function readBuildResult(reader: WireReader, minor: number): Promise<DaemonBuildResult> {
  const status = STATUSES[await reader.number()] ?? 'unknown';
  const message = withoutColours(await reader.string()).replace(/^error: /, '');
  // How often it was built, whether with different results, and when.
  for (let field = 0; field < 4; field++) await reader.skipNumber();
  if (minor >= 37) await skipTimes(reader);
  const outputs = new Map<string, StorePath>();
  for (let left = await reader.number(); left > 0; left--) {
    const id = await reader.string();
    outputs.set(id.slice(id.indexOf('!') + 1), parseRealisation(await reader.string(), id).outPath);
  }
  return { status, succeeded: SUCCESSES.includes(status), message, outputs };
}

/** Processor time of user and system, each there or not. */
async function skipTimes(reader: WireReader): Promise<void> {
  for (let field = 0; field < 2; field++) if (await reader.boolean()) await reader.skipNumber();
}

function sorted<Value>(entries: ReadonlyMap<string, Value>): [string, Value][] {
  return [...entries].sort(([left], [right]) => (left < right ? -1 : 1));
}
