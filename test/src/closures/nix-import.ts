import { writeNar } from '@larder/signing/nar-writer';
import type { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import type { ClosureObject } from './closure.js';

/** Follows each archive in Nix's export format. */
const exportMagic = 0x4558494e;

/** Puts a closure into a store of stock Nix, with its references and derivers; returns the full store paths. */
export async function importClosure(nix: Nix, objects: readonly ClosureObject[]): Promise<readonly string[]> {
  const imported = await nix.run('nix-store', ['--import'], { input: exportStream(objects) });
  return imported.split('\n');
}

/** The stream that `nix-store --import` reads: an archive and its metadata for each object, references first. */
async function* exportStream(objects: readonly ClosureObject[]): AsyncGenerator<Uint8Array> {
  for (const { storePath, tree, references, deriver } of objects) {
    yield integer(1);
    // That these are the bytes of nix-store --dump has a test of its own.
    yield* writeNar(tree);
    yield integer(exportMagic);
    yield string(defaultStoreDir.format(storePath));
    yield integer(references.length);
    for (const reference of references) yield string(defaultStoreDir.format(reference));
    yield string(defaultStoreDir.format(deriver));
    yield integer(0);
  }
  yield integer(0);
}

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([integer(bytes.length), bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
}
