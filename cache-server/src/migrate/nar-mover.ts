import type { Cache } from '../caches/cache.js';
import type { Intake } from '../intake.js';
import { copyNar } from '../nars/copy-nar.js';
import { bareHash } from '../publish/narinfo-text.js';
import type { Foundation } from '../start.js';
import type { MigratingPath, RefusedPath } from './migration-source.js';
import { isPathsOwn } from './refusal.js';

/** Brings NARs into a cache, each once however many paths have it. */
export class NarMover {
  readonly #foundation: Foundation;
  readonly #intake: Intake;
  readonly #cache: Cache;
  readonly #others: readonly Cache[];
  /** By NarHash: under way, or refused and why. */
  readonly #moves = new Map<string, Promise<string | undefined>>();
  readonly sums = { nars: 0, bytes: 0, shared: 0 };

  constructor(
    foundation: Foundation,
    intake: Intake,
    { cache, others }: { readonly cache: Cache; readonly others: readonly Cache[] },
  ) {
    this.#foundation = foundation;
    this.#intake = intake;
    this.#cache = cache;
    this.#others = others;
  }

  /** Sees to it that a path's NAR is here. @returns what is wrong with it, if it cannot be moved */
  async move(path: MigratingPath): Promise<RefusedPath | undefined> {
    const hash = bareHash(path.draft.narHash);
    const running = this.#moves.get(hash) ?? this.#start(path, hash);
    const why = await running;
    return why === undefined ? undefined : { path: path.draft.storePath, why };
  }

  #start(path: MigratingPath, hash: string): Promise<string | undefined> {
    const move = this.#bring(path, hash);
    this.#moves.set(hash, move);
    // One that is here is found in the database from now on.
    void move.then(
      (why) => why === undefined && this.#moves.delete(hash),
      () => undefined,
    );
    return move;
  }

  async #bring({ draft, findNar }: MigratingPath, narHash: string): Promise<string | undefined> {
    const { nars } = this.#intake;
    if ((await nars.findForUpload(this.#cache, narHash)) !== undefined) return undefined;
    if (await this.#share(narHash)) return undefined;
    const nar = await findNar();
    if ('why' in nar) return nar.why;
    try {
      const { compression } = nar;
      const { narSize } = draft;
      const row = await nars.receive(this.#cache, nar.open(), { compression, narHash, narSize });
      this.sums.nars++;
      this.sums.bytes += row.nar_size;
      return undefined;
    } catch (error) {
      if (!isPathsOwn(error)) throw error;
      return (await nar.explain?.()) ?? error.message;
    }
  }

  async #share(narHash: string): Promise<boolean> {
    const { database, storage, config } = this.#foundation;
    const options = { database, storage, keepUnused: config.uploads.pending, ...this.#intake };
    const isShared = await copyNar(options, this.#cache, { narHash, others: this.#others });
    if (isShared) this.sums.shared++;
    return isShared;
  }
}
