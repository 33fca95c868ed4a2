import { isContentAddressed } from '@larder/signing/path-info';
import { storePathHashPart } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import type { ContentFacts } from '../nars/content-facts.js';
import type { PathDraft } from './draft.js';

/**
 * Checks what a path says of itself against its NAR, before it is signed. A declared reference must occur in the NAR: that is
 * how Nix found it. (The other way round nothing can be said: only the builder knows which paths were its inputs.)
 * Content-addressed paths carry their references in their own name instead, and their contents must be what it says.
 * @throws `references-forged`, `content-address-mismatch`
 */
export async function checkContents(
  cache: Cache,
  draft: PathDraft,
  options: { readonly facts: ContentFacts; readonly verifyReferences: boolean },
): Promise<void> {
  if (draft.ca !== undefined) return checkContentAddress(cache, draft, options.facts);
  if (!options.verifyReferences || draft.references.length === 0) return;
  const wanted = draft.references.map(storePathHashPart);
  const found = await options.facts.findHashParts(wanted);
  const forged = draft.references.filter((reference) => !found.has(storePathHashPart(reference)));
  if (forged.length === 0) return;
  throw new ServerError(
    'references-forged',
    `${draft.storePath} declares references that do not occur in its NAR: ${forged.slice(0, 5).join(', ')}`,
    { fields: { path: draft.storePath, references: forged } },
  );
}

async function checkContentAddress(cache: Cache, draft: PathDraft, facts: ContentFacts): Promise<void> {
  const { ca, storePath, narHash } = draft;
  if (ca === undefined) return;
  if (!isContentAddressed(draft, cache.storeDir))
    throw mismatch(draft, 'its content address and references give another store path');
  if (ca.method === 'git') throw mismatch(draft, 'git content addresses cannot be verified here');
  const refersToItself = draft.references.includes(storePath);
  if (ca.method === 'recursive' && ca.hash.algorithm === 'sha256' && !refersToItself) {
    if (!ca.hash.equals(narHash)) throw mismatch(draft, `its NAR has the hash ${narHash.toString()}`);
    return;
  }
  const actual = await facts.computeContentHash({
    method: ca.method,
    algorithm: ca.hash.algorithm,
    ...(refersToItself ? { modulo: storePathHashPart(storePath) } : {}),
  });
  if (actual === undefined) throw mismatch(draft, 'its NAR is not a plain file');
  if (!actual.equals(ca.hash)) throw mismatch(draft, `its contents have the hash ${actual.toString()}`);
}

function mismatch(draft: PathDraft, why: string): ServerError {
  return new ServerError(
    'content-address-mismatch',
    `${draft.storePath} does not match its content address ${draft.ca?.hash.toString() ?? ''}: ${why}`,
    { fields: { path: draft.storePath } },
  );
}
