import type { Compression } from '@larder/signing/compression';
import type { Cache } from '../caches/cache.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage, StagedObject } from '../storage/storage.js';
import { checkClaims, exceedsClaim } from './nar-claims.js';
import type { IngestedNar, NarReader } from './nar-reader.js';
import type { UploadRoom } from './upload-room.js';

export interface NarUpload {
  readonly compression: Compression;
  /** What the client says the NAR is, if it does: nix32 without a prefix. */
  readonly narHash?: string;
  readonly narSize?: number;
  /** What a stock client calls it: `<file hash>.nar.xz`. */
  readonly fileName?: string;
  /** Gets the bytes as they are kept, while they are: nothing of it is proven before the upload is taken. */
  readonly onStored?: (chunk: Uint8Array) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** An upload that was verified, in the storage but not under its key yet. */
export interface VerifiedUpload extends AsyncDisposable {
  readonly nar: IngestedNar;
  readonly staged: StagedObject;
}

export interface NarIntakeOptions {
  readonly storage: ObjectStorage;
  readonly reader: NarReader;
  readonly room: UploadRoom;
}

/** Reads uploads, as many at once as there is room for: each is verified, compressed anew and staged in one pass. */
export class NarIntake {
  readonly #options: NarIntakeOptions;

  constructor(options: NarIntakeOptions) {
    this.#options = options;
  }

  /**
   * @throws `overloaded` with nothing read; `nar-malformed`, `codec-…`, `nar-hash-mismatch`, `nar-size-mismatch`,
   * `nar-file-mismatch`: then nothing is kept
   */
  async read(cache: Cache, source: AsyncIterable<Uint8Array>, upload: NarUpload): Promise<VerifiedUpload> {
    const { compression, signal, narHash, narSize } = upload;
    const { storage, reader, room } = this.#options;
    // Given back before anybody waits for a lease: its holder may be waiting for room.
    using _room = await room.enter(narSize, signal);
    const running = reader.ingest(source, {
      compression,
      ...(narSize === undefined ? {} : { narSize }),
      ...(signal ? { signal } : {}),
    });
    const output = upload.onStored === undefined ? running.output : tee(running.output, upload.onStored);
    const staging = storage.stage(output, {
      contentType: 'application/x-nix-nar',
      ...(narHash === undefined ? {} : { key: objectKeys.nar(cache.name, narHash) }),
      ...(signal ? { signal } : {}),
    });
    const staged = await staging.catch((error: unknown) => {
      throw exceedsClaim(error, upload) ?? error;
    });
    try {
      const nar = await running.result;
      checkClaims(nar, upload);
      return { nar, staged, [Symbol.asyncDispose]: () => staged[Symbol.asyncDispose]() };
    } catch (error) {
      await staged[Symbol.asyncDispose]();
      throw error;
    }
  }
}

async function* tee(
  source: AsyncIterable<Uint8Array>,
  sink: (chunk: Uint8Array) => Promise<void>,
): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    await sink(chunk);
    yield chunk;
  }
}
