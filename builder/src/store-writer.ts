import { computeHash, Hasher, parseHash } from '@larder/signing/hash';
import { NarRestorer } from '@larder/signing/nar-restore';
import { narOfContents, writeNar } from '@larder/signing/nar-writer';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { type StorePath, storePathName } from '@larder/signing/store-path';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import { addNar, addPath, addText } from '@larder/substituter/local-store/add-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { LocalStore, type StagedPath } from '@larder/substituter/local-store/local-store';

/** A text to write to the store, under the path its contents give it. */
export interface TextToWrite {
  readonly path: StorePath;
  readonly contents: Uint8Array;
  readonly references: readonly StorePath[];
}

/** A tree to copy into the store. */
export interface TreeToWrite {
  readonly path: StorePath;
  readonly source: string;
  readonly method: 'flat' | 'recursive';
  readonly references: readonly StorePath[];
  /** The hash that names it, as `sha256:…`: of its NAR if it is added recursively. */
  readonly hash: string;
  /** Size of the NAR; zero if it is not known. */
  readonly narSize: number;
  /** The paths of a filtered tree that are kept, by their full path. */
  readonly kept: ReadonlySet<string> | undefined;
}

/** So many texts become valid in one transaction. */
const BATCH_SIZE = 128;

/**
 * Writes what an evaluation makes into a store, in order and behind its back: evaluation goes on meanwhile, and
 * waits in `flush` for the rest. Derivations come by the hundred, so they are registered together.
 */
export class StoreWriter {
  private readonly openStore: () => Promise<LocalStore | DaemonStore>;
  private texts: TextToWrite[] = [];
  private running: Promise<void> = Promise.resolve();
  private failure: Error | undefined;

  constructor(openStore: () => Promise<LocalStore | DaemonStore>) {
    this.openStore = openStore;
  }

  addText(text: TextToWrite): void {
    this.texts.push(text);
    if (this.texts.length === BATCH_SIZE) this.startBatch();
  }

  /** Copies a tree; what refers to it is written after it. */
  addTree(tree: TreeToWrite): void {
    this.startBatch();
    this.enqueue((store) => writeTree(store, tree));
  }

  /** Waits until everything is in the store; throws what went wrong. */
  async flush(): Promise<void> {
    this.startBatch();
    await this.running;
    if (this.failure !== undefined) throw this.failure;
  }

  private startBatch(): void {
    if (this.texts.length === 0) return;
    const batch = this.texts;
    this.texts = [];
    this.enqueue((store) => writeBatch(store, batch));
  }

  private enqueue(work: (store: LocalStore | DaemonStore) => Promise<void>): void {
    this.running = this.running
      .then(async () => {
        if (this.failure === undefined) await work(await this.openStore());
      })
      .catch((error: unknown) => {
        this.failure ??= error as Error;
      });
  }
}

async function writeBatch(store: LocalStore | DaemonStore, batch: readonly TextToWrite[]): Promise<void> {
  if (store instanceof LocalStore) {
    await writeTexts(store, batch);
    return;
  }
  for (const { path, contents, references } of batch) {
    const text = Buffer.from(contents).toString('utf8');
    await addText(store, { name: storePathName(path), text, references });
  }
}

async function writeTree(store: LocalStore | DaemonStore, tree: TreeToWrite): Promise<void> {
  const { path, source, method, references, kept } = tree;
  const filter = kept === undefined ? {} : { filter: (entry: string) => kept.has(entry) };
  if (!(store instanceof LocalStore) || method !== 'recursive' || tree.narSize === 0) {
    await addPath(store, source, { name: storePathName(path), method, references, ...filter });
    return;
  }
  const hash = parseHash(tree.hash);
  const info: ValidPathInfo = {
    storePath: path,
    narHash: hash,
    narSize: tree.narSize,
    references: [...references].sort(),
    signatures: [],
    ca: { method, hash },
  };
  await addNar(store, info, writeNar(source, filter));
}

function describeText(text: TextToWrite): ValidPathInfo {
  const nar = new Hasher('sha256');
  for (const chunk of narOfContents(text.contents)) nar.update(chunk);
  return {
    storePath: text.path,
    narHash: nar.digest(),
    narSize: nar.size,
    references: [...text.references].sort(),
    signatures: [],
    ca: { method: 'text', hash: computeHash('sha256', text.contents) },
  };
}

/** Writes texts to a local store, and makes all of them valid in one transaction. */
async function writeTexts(store: LocalStore, texts: readonly TextToWrite[]): Promise<void> {
  const missing = await store.queryMissing(texts.map((text) => text.path));
  const locked: StagedPath[] = [];
  let unfinished: StagedPath | undefined;
  const infos: ValidPathInfo[] = [];
  try {
    for (const text of texts) {
      if (!missing.delete(text.path)) continue;
      const stage = await store.stage(text.path);
      if (stage === undefined) continue;
      locked.push(stage);
      unfinished = stage;
      restoreText(stage, text, store.fsyncsStorePaths);
      await stage.publish();
      unfinished = undefined;
      infos.push(describeText(text));
    }
    if (infos.length > 0) store.register(infos);
  } finally {
    if (unfinished !== undefined) await deleteTree(unfinished.directory);
    for (const stage of locked) stage.release();
  }
}

function restoreText(stage: StagedPath, { contents }: TextToWrite, fsync: boolean): void {
  const restorer = new NarRestorer(stage.directory, { canonical: true, fsync });
  try {
    restorer.beginFile('', { executable: false });
    restorer.contents(contents);
    restorer.endFile();
  } finally {
    restorer.close();
  }
}
