/**
 * The tables of an attic server, as far as they matter here, by attic's own names (`server/src/database/` of its source: `entity/` has
 * them as they are, `migration/` as they came to be). Columns that came or went are optional; `AtticDatabase` asks which are there.
 */
export interface AtticSchema {
  cache: {
    id: number;
    name: string;
    /** `name:base64` of 64 bytes, as Nix has secret keys. */
    keypair: string;
    is_public: boolean | number;
    store_dir: string;
    priority: number;
    /** JSON: an array of names. */
    upstream_cache_key_names: string;
    /** Not null for a cache that was deleted and is kept for a while. */
    deleted_at: unknown;
    /** Seconds; null for the server's default, 0 for ever. Since `m20221227_000005`. */
    retention_period?: number | null;
  };
  object: {
    id: number;
    cache_id: number;
    nar_id: number;
    store_path_hash: string;
    /** With the store directory. */
    store_path: string;
    /** JSON: an array of base names. */
    references: string;
    system: string | null;
    deriver: string | null;
    /** JSON: an array of signatures, as clients gave them. */
    sigs: string;
    ca: string | null;
  };
  nar: {
    id: number;
    /** `V`: it can be used. */
    state: string;
    /** `sha256:` and hexadecimal digits. */
    nar_hash: string;
    nar_size: number;
    compression: string;
    /** Since `m20230112_000003`. */
    num_chunks?: number;
    /** Before chunks, until `m20230112_000005`: the NAR is one file. */
    file_hash?: string | null;
    file_size?: number | null;
    remote_file?: string;
  };
  /** Since `m20230112_000001`. */
  chunk: {
    id: number;
    /** `V`: it can be used. */
    state: string;
    /** Of the bytes before compression. */
    chunk_hash: string;
    chunk_size: number;
    file_hash: string | null;
    file_size: number | null;
    /** `none`, `br`, `zstd` or `xz`. */
    compression: string;
    /** JSON: where it is. */
    remote_file: string;
  };
  chunkref: {
    id: number;
    nar_id: number;
    /** From 0. */
    seq: number;
    /** Null for a chunk that was lost. */
    chunk_id: number | null;
    /** Until `m20260624_000001`: what the chunk was, by which another one can stand in for it. */
    chunk_hash?: string;
  };
}
