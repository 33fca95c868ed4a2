import { renameSync } from 'node:fs';
import { restoreNar } from '@larder/signing/nar-restore';
import { writeNar } from '@larder/signing/nar-writer';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { type Rewrites, RewritingStream } from '../derivation/rewrite.js';

/**
 * Replaces hash parts of store paths everywhere in a tree: in files, names and targets of links. The tree is
 * written anew beside its place, with canonical metadata.
 */
export async function rewriteTree(path: string, rewrites: Rewrites): Promise<void> {
  const temporary = `${path}.tmp`;
  await deleteTree(temporary);
  await restoreNar(rewritten(path, new RewritingStream(rewrites)), temporary, { canonical: true });
  await deleteTree(path);
  renameSync(temporary, path);
}

async function* rewritten(path: string, stream: RewritingStream): AsyncGenerator<Uint8Array> {
  for await (const chunk of writeNar(path)) yield stream.write(chunk);
  yield stream.end();
}
