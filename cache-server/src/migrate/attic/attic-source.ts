import { LarderError } from '@larder/signing/errors';
import { parseSignature } from '@larder/signing/signature';
import { HASH_PART_LENGTH, storePathHashPart } from '@larder/signing/store-path';
import { z } from 'zod';
import { type PathDraft, parseCommitPath } from '../../publish/draft.js';
import type {
  MigratingNar,
  MigratingPath,
  MigrationEntry,
  MigrationSource,
  MissingNar,
  RefusedPath,
} from '../migration-source.js';
import type { AtticCache, AtticDatabase, AtticObject } from './attic-database.js';
import { assembleNar } from './nar-chunks.js';
import type { ChunkFiles } from './remote-file.js';

const strings = z.array(z.string());

/** A cache of an attic server. */
export class AtticSource implements MigrationSource<number> {
  readonly #database: AtticDatabase;
  readonly #cache: AtticCache;
  readonly #files: ChunkFiles;

  constructor(
    database: AtticDatabase,
    { cache, files }: { readonly cache: AtticCache; readonly files: ChunkFiles },
  ) {
    this.#database = database;
    this.#cache = cache;
    this.#files = files;
  }

  async *entries(): AsyncIterable<MigrationEntry<number>> {
    for await (const { id, hashPart, references } of this.#database.entries(this.#cache.id))
      yield { key: id, hashPart, references: hashPartsOf(references) };
  }

  async load(ids: readonly number[]): Promise<(MigratingPath | RefusedPath)[]> {
    const objects = await this.#database.objects(ids);
    const found = ids.flatMap((id) => objects.get(id) ?? []);
    return found.map((object) => this.#describe(object));
  }

  #describe(object: AtticObject): MigratingPath | RefusedPath {
    try {
      const draft = draftOf(object, this.#cache.storeDir);
      return { draft, findNar: () => this.#findNar(object) };
    } catch (error) {
      if (error instanceof LarderError || error instanceof z.ZodError || error instanceof SyntaxError)
        return { path: object.store_path, why: error.message };
      throw error;
    }
  }

  /** The object's own NAR or, if that is incomplete, another that attic has of the same contents. */
  async #findNar(object: AtticObject): Promise<MigratingNar | MissingNar> {
    const own =
      object.state === 'V'
        ? await this.#assemble(object, object.nar_id)
        : { why: "its NAR was never uploaded whole (attic's database has it as pending)" };
    if (!('why' in own)) return own;
    for (const id of await this.#database.twins(object.nar_hash, object.nar_id)) {
      const twin = await this.#assemble(object, id);
      if (!('why' in twin)) return twin;
    }
    return own;
  }

  async #assemble({ nar_size: narSize }: AtticObject, narId: number): Promise<MigratingNar | MissingNar> {
    return assembleNar({ ...(await this.#database.pieces(narId)), narSize }, this.#files);
  }
}

function hashPartsOf(references: string): string[] {
  try {
    return strings.parse(JSON.parse(references)).map((each) => each.slice(0, HASH_PART_LENGTH));
  } catch {
    // Said when the object is loaded.
    return [];
  }
}

/** @throws what says what is malformed */
function draftOf(object: AtticObject, storeDir: string): PathDraft {
  const baseName = (path: string): string =>
    path.startsWith(`${storeDir}/`) ? path.slice(storeDir.length + 1) : path;
  const { deriver, system, ca } = object;
  const draft = parseCommitPath({
    storePath: baseName(object.store_path),
    narHash: object.nar_hash,
    narSize: object.nar_size,
    references: strings.parse(JSON.parse(object.references)).map(baseName),
    signatures: strings.parse(JSON.parse(object.sigs)).filter(isSignature),
    ...(deriver === null || deriver === '' || deriver === 'unknown-deriver'
      ? {}
      : { deriver: baseName(deriver) }),
    ...(system === null || system === '' ? {} : { system }),
    ...(ca === null || ca === '' ? {} : { ca }),
  });
  if (storePathHashPart(draft.storePath) === object.store_path_hash) return draft;
  throw new LarderError(
    'narinfo-mismatch',
    `attic's database has it under the hash ${object.store_path_hash}`,
  );
}

/** Clients may send what they like, and newer Nix reads no narinfo with a signature that is none. */
function isSignature(text: string): boolean {
  try {
    parseSignature(text);
    return true;
  } catch {
    return false;
  }
}
