import { LarderError } from '@larder/signing/errors';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { type Attestation, checkTrust, type Trust } from '@larder/signing/trust';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { ClosureWalkHint } from '../binary-cache/narinfo-walk.js';
import { resolveClosure } from '../closure.js';
import type { FoundPath, SourceSet } from '../source-set.js';
import type { PathSource } from '../store.js';
import type { CopyListener } from './copy-events.js';
import { planDeltas } from './delta-plan.js';
import type { Destination } from './destination.js';
import { Transfer } from './transfer.js';

export interface CopyOptions {
  readonly sources: SourceSet;
  readonly destination: Destination;
  /** Copy all that the paths refer to, too. */
  readonly recursive: boolean;
  readonly trusted: Trust;
  /** False lets unsigned paths into a store. */
  readonly requireSignatures: boolean;
  /** Narinfo queries under way at a time. */
  readonly queries: number;
  /** Large paths transferred at a time; small ones go beside them. */
  readonly transfers: number;
  readonly onEvent?: CopyListener;
  readonly signal?: AbortSignal;
}

/** What it takes to find a path that the destination may take. */
export type TrustedSourceOptions = Pick<
  CopyOptions,
  'sources' | 'trusted' | 'requireSignatures' | 'signal'
> & {
  readonly destination: Pick<Destination, 'checksTrust' | 'storeDir'>;
  readonly walk?: ClosureWalkHint;
};

export interface CopyResult {
  /** Paths that were copied, references first. */
  readonly copied: readonly StorePath[];
  /** Bytes of unpacked NAR in them. */
  readonly bytes: number;
}

/**
 * Copies paths, with all they refer to, from the first source that has each to the destination; what is there
 * already is left alone. Fails before it transfers anything if a path is nowhere or not trusted. What was
 * committed before a failure stays: the same call again goes on from there.
 * @throws `path-not-found`, `signature-untrusted`, `nar-hash-mismatch`, HttpError, and the destination's own errors
 */
export async function copyPaths(roots: Iterable<StorePath>, options: CopyOptions): Promise<CopyResult> {
  const plan = await planDeltas(await planCopy(roots, options), options);
  const bytes = plan.reduce((sum, { info }) => sum + info.narSize, 0);
  options.onEvent?.({ type: 'planned', paths: plan.length, bytes });
  await new Transfer(plan, {
    destination: options.destination,
    concurrency: options.transfers,
    findElsewhere: (path, except) => findTrusted(path, except, options),
    onEvent: options.onEvent,
    signal: options.signal,
  }).run();
  return { copied: plan.map(({ info }) => info.storePath), bytes };
}

/** What has to be transferred, references first, each with a source that has it. */
export async function planCopy(roots: Iterable<StorePath>, options: CopyOptions): Promise<FoundPath[]> {
  const { destination, signal } = options;
  const plan = await resolveClosure(roots, {
    find: (path, walk) =>
      findTrusted(path, new Set(), { ...options, ...(options.recursive ? { walk } : {}) }),
    walk: new ClosureWalkHint(async () => (await destination.queryKnown?.()) ?? []),
    filter: (paths) => destination.queryMissing(paths, signal),
    recursive: options.recursive,
    concurrency: options.queries,
    signal,
  });
  if (!options.recursive) await checkReferences(plan, destination, signal);
  return plan;
}

/**
 * Finds a path at a source from which the destination may take it. A source whose copy is not trusted is passed
 * over for one whose copy is; where several must have signed, the signatures of all that have the same contents count.
 */
export async function findTrusted(
  path: StorePath,
  unwanted: ReadonlySet<PathSource>,
  { sources, destination, trusted, requireSignatures, signal, walk }: TrustedSourceOptions,
): Promise<FoundPath | undefined> {
  const except = new Set(unwanted);
  const refused: FoundPath[] = [];
  let refusal: Error | undefined;
  for (;;) {
    const found = await sources.find(path, { except, signal, walk });
    if (found === undefined) {
      if (refusal !== undefined) throw refusal;
      return undefined;
    }
    const exempt = !destination.checksTrust || (found.source instanceof BinaryCache && found.source.trusted);
    if (exempt) return found;
    const agreeing = refused.filter(({ info }) => isSameContents(info, found.info));
    try {
      checkTrust(found.info, {
        storeDir: destination.storeDir,
        trusted,
        requireSignatures,
        ...attestationOf(found),
        others: agreeing.map(attestationOf),
      });
      return agreeing.length === 0 ? found : withAllSignatures([...agreeing, found]);
    } catch (error) {
      refusal = agreeing.length > 0 ? (error as Error) : (refusal ?? (error as Error));
      refused.push(found);
      except.add(found.source);
    }
  }
}

function attestationOf({ info, source }: FoundPath): Attestation {
  return { info, source: source.uri, isStore: !(source instanceof BinaryCache) };
}

/** Whether two sources name the same contents, so that a signature on one is a signature on the other. */
function isSameContents(left: PathInfo, right: PathInfo): boolean {
  return (
    left.narHash.equals(right.narHash) &&
    left.narSize === right.narSize &&
    left.references.join() === right.references.join()
  );
}

/** The first source's path, with the signatures of all: together they are what made it trusted. */
function withAllSignatures(copies: readonly FoundPath[]): FoundPath {
  const { info, source } = copies[0]!;
  return {
    source,
    info: { ...info, signatures: [...new Set(copies.flatMap((copy) => copy.info.signatures))] },
  };
}

/** A path must not come in before what it refers to, which without recursion nobody brings. */
async function checkReferences(
  plan: readonly FoundPath[],
  destination: Destination,
  signal: AbortSignal | undefined,
): Promise<void> {
  const coming = new Set(plan.map(({ info }) => info.storePath));
  const needed = new Set(plan.flatMap(({ info }) => info.references).filter((path) => !coming.has(path)));
  const missing = await destination.queryMissing([...needed], signal);
  if (missing.size === 0) return;
  throw new LarderError(
    'reference-invalid',
    `${destination.uri} lacks ${missing.size} of the paths that these refer to, ${[...missing][0]} among them: ` +
      'copy without --no-recursive',
    { fields: { missing: [...missing] } },
  );
}
