import { lstatSync, type Stats } from 'node:fs';
import { makeContentAddressedPath, outputPathName } from '@larder/signing/content-address';
import type { DerivationOutput } from '@larder/signing/derivation';
import type { HashAlgorithm } from '@larder/signing/hash';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure, type BuildFailureCode } from '../build-failure.js';
import type { BuildContext, BuildJob } from '../build-job.js';
import { canonicalizeTree } from './canonical-metadata.js';
import { compareOutputs } from './compare-outputs.js';
import { hashModuloSelf, type InspectedOutput, inspectOutput } from './inspect-output.js';
import { checkOutputs } from './output-checks.js';
import { rewriteTree } from './rewrite-tree.js';
import { sortOutputs } from './sort-outputs.js';
import { storeOutputs } from './store-outputs.js';

/** Where a finished build left its outputs. */
export interface OutputLocation {
  /** By output name: the paths the build was told to make. */
  readonly scratch: ReadonlyMap<string, StorePath>;
  /** The file of such a path on this machine. */
  readonly locate: (path: StorePath) => string;
  /** The user that everything must belong to. */
  readonly owner: number | undefined;
  /** Whether another machine made them: then they are not ours to vouch for without a signature. */
  readonly builtElsewhere?: boolean;
}

/**
 * Takes over what a build made: gives it canonical metadata, finds its references, checks it, moves it into
 * the store and registers it, all outputs in one transaction. Gives all outputs by name, those that were valid before too;
 * `undefined` after a round that is to be repeated.
 * @throws BuildFailure
 */
export async function registerOutputs(
  context: BuildContext,
  job: BuildJob,
  location: OutputLocation,
): Promise<ReadonlyMap<string, StorePath> | undefined> {
  return new OutputRegistration(context, job, location).run();
}

interface FoundOutput extends InspectedOutput {
  readonly name: string;
  readonly scratch: StorePath;
  readonly file: string;
  readonly status: Stats;
}

class OutputRegistration {
  readonly #context: BuildContext;
  readonly #job: BuildJob;
  readonly #location: OutputLocation;
  /** From hash parts of paths that outputs were made at to those they end at. */
  readonly #rewrites = new Map<string, string>();
  readonly #final = new Map<string, StorePath>();
  #mismatch: BuildFailure | undefined;

  constructor(context: BuildContext, job: BuildJob, location: OutputLocation) {
    this.#context = context;
    this.#job = job;
    this.#location = location;
  }

  async run(): Promise<ReadonlyMap<string, StorePath> | undefined> {
    const found = await this.#findOutputs();
    const infos = new Map<string, ValidPathInfo>();
    for (const output of sortOutputs(found, (name, other) => this.#cycle(name, other))) {
      const info = await this.#finish(output);
      this.#place(output, info.storePath);
      infos.set(output.name, info);
    }
    const finished = found.map(({ name, file }) => ({ name, file, info: infos.get(name)! }));
    if (this.#job.mode === 'check') await compareOutputs(this.#context, this.#job, finished);
    else if (this.#job.rounds?.finish(infos) === false) {
      for (const { file } of found) await deleteTree(file);
      return undefined;
    } else {
      await this.#check(infos);
      await storeOutputs(this.#context.store, this.#job, finished);
    }
    if (this.#mismatch !== undefined) throw this.#mismatch;
    return this.#final;
  }

  /** The outputs that are to be registered, with canonical metadata and their references as the build knew them. */
  async #findOutputs(): Promise<FoundOutput[]> {
    const { inputs, outputs, mode } = this.#job;
    const candidates = [...inputs, ...this.#location.scratch.values()];
    const seen = new Set<string>();
    const found: FoundOutput[] = [];
    for (const [name, { path, valid }] of outputs) {
      const scratch = this.#location.scratch.get(name)!;
      if (valid && mode === 'build') {
        this.#place({ name, scratch }, path!);
        continue;
      }
      const file = this.#location.locate(scratch);
      const status = this.#statOutput(name, file);
      this.#canonicalize(file, seen);
      found.push({ name, scratch, file, status, ...(await inspectOutput(file, candidates)) });
    }
    return found;
  }

  #statOutput(name: string, file: string): Stats {
    const status = lstatSync(file, { throwIfNoEntry: false });
    if (status === undefined) {
      throw this.#failure(
        'output-rejected',
        `failed to produce output path for output '${name}' at '${file}'`,
      );
    }
    const { owner } = this.#location;
    const openToOthers = !status.isSymbolicLink() && (status.mode & 0o022) !== 0;
    if (openToOthers || (owner !== undefined && status.uid !== owner)) {
      throw this.#failure(
        'output-rejected',
        `left a suspicious ownership or permission on '${file}' for output '${name}'; rejecting this build output`,
      );
    }
    return status;
  }

  #canonicalize(file: string, seen: Set<string>): void {
    try {
      const fsync = this.#context.store.fsyncsStorePaths;
      canonicalizeTree(file, { owner: this.#location.owner, seen, fsync });
    } catch (error) {
      throw this.#failure(
        'output-rejected',
        `made an output that cannot be kept: ${(error as Error).message}`,
        error,
      );
    }
  }

  #place({ name, scratch }: Pick<FoundOutput, 'name' | 'scratch'>, final: StorePath): void {
    this.#final.set(name, final);
    if (scratch !== final) this.#rewrites.set(storePathHashPart(scratch), storePathHashPart(final));
  }

  /** Gives an output its final contents and describes them. Outputs it refers to are finished. */
  async #finish(output: FoundOutput): Promise<ValidPathInfo> {
    const { derivation } = this.#job;
    const kind = derivation.outputs.get(output.name)!;
    const info = await this.#describe(output, kind);
    const described: ValidPathInfo = {
      ...info,
      deriver: this.#job.path,
      ultimate: this.#location.builtElsewhere !== true,
    };
    return signPathInfo(described, this.#context.settings.secretKeys, this.#context.store.storeDir);
  }

  async #describe(output: FoundOutput, kind: DerivationOutput): Promise<ValidPathInfo> {
    switch (kind.type) {
      case 'input-addressed':
        return this.#describeInputAddressed(output, kind.path);
      case 'fixed': {
        const { method, hash } = kind.ca;
        if (method !== 'flat' && method !== 'recursive') throw this.#unsupported(method);
        const info = await this.#describeContentAddressed(output, { method, algorithm: hash.algorithm });
        if (!info.ca!.hash.equals(hash)) this.#noteMismatch(hash.format('sri'), info.ca!.hash.format('sri'));
        return info;
      }
      case 'floating': {
        const { method, algorithm } = kind;
        if (method !== 'flat' && method !== 'recursive') throw this.#unsupported(method);
        return this.#describeContentAddressed(output, { method, algorithm });
      }
      case 'deferred':
      case 'impure':
        throw this.#unsupported(kind.type);
    }
  }

  async #describeInputAddressed(output: FoundOutput, path: StorePath): Promise<ValidPathInfo> {
    const rewrites = new Map(this.#rewrites);
    if (output.scratch !== path) rewrites.set(storePathHashPart(output.scratch), storePathHashPart(path));
    const inspected = rewrites.size === 0 ? output : await this.#rewriteAndInspect(output.file, rewrites);
    const references = this.#finalReferences(output, path);
    return {
      storePath: path,
      narHash: inspected.narHash,
      narSize: inspected.narSize,
      references,
      signatures: [],
    };
  }

  async #describeContentAddressed(
    output: FoundOutput,
    address: { readonly method: 'flat' | 'recursive'; readonly algorithm: HashAlgorithm },
  ): Promise<ValidPathInfo> {
    const { file, status, scratch, name } = output;
    if (address.method === 'flat' && (!status.isFile() || (status.mode & 0o100) !== 0)) {
      throw this.#failure(
        'output-rejected',
        `made '${file}', which should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=flat)`,
      );
    }
    if (this.#rewrites.size > 0) await rewriteTree(file, this.#rewrites);
    const hash = await hashModuloSelf(file, scratch, address);
    const self = output.references.includes(scratch);
    const others = this.#finalReferences(output, scratch).filter((path) => path !== scratch);
    const ca = { method: address.method, hash };
    const storePath = this.#contentAddressedPath(outputPathName(this.#job.derivation.name, name), {
      ...ca,
      references: others,
      self,
    });
    const rewrites = new Map([[storePathHashPart(scratch), storePathHashPart(storePath)]]);
    const inspected =
      self && storePath !== scratch
        ? await this.#rewriteAndInspect(file, rewrites)
        : await inspectOutput(file, []);
    const references = [...others, ...(self ? [storePath] : [])].sort();
    return {
      storePath,
      narHash: inspected.narHash,
      narSize: inspected.narSize,
      references,
      signatures: [],
      ca,
    };
  }

  #contentAddressedPath(name: string, content: Parameters<typeof makeContentAddressedPath>[2]): StorePath {
    try {
      return makeContentAddressedPath(this.#context.store.storeDir, name, content);
    } catch (error) {
      throw this.#failure(
        'output-rejected',
        'made a fixed output that refers to store paths, which its kind of hash does not allow',
        error,
      );
    }
  }

  async #rewriteAndInspect(file: string, rewrites: ReadonlyMap<string, string>): Promise<InspectedOutput> {
    await rewriteTree(file, rewrites);
    return inspectOutput(file, []);
  }

  /** An output's references with those to other outputs, and to itself, as they are called in the end. */
  #finalReferences(output: FoundOutput, own: StorePath): StorePath[] {
    const references = output.references.map((path): StorePath => {
      if (path === output.scratch) return own;
      const hashPart = this.#rewrites.get(storePathHashPart(path));
      return hashPart === undefined ? path : (`${hashPart}-${storePathName(path)}` as StorePath);
    });
    return [...new Set(references)].sort();
  }

  #noteMismatch(specified: string, got: string): void {
    const derivation = this.#context.store.storeDir.format(this.#job.path);
    this.#mismatch = new BuildFailure(
      'hash-mismatch',
      `hash mismatch in fixed-output derivation '${derivation}':\n  specified: ${specified}\n     got:    ${got}`,
      { derivation: this.#job.path, specified, got },
    );
  }

  async #check(infos: ReadonlyMap<string, ValidPathInfo>): Promise<void> {
    try {
      await checkOutputs(this.#context.store, infos, this.#job.options);
    } catch (error) {
      throw new BuildFailure('output-rejected', (error as Error).message, {
        derivation: this.#job.path,
        cause: error,
      });
    }
  }

  #cycle(name: string, other: string): BuildFailure {
    const derivation = this.#context.store.storeDir.format(this.#job.path);
    return new BuildFailure(
      'output-rejected',
      `cycle detected in build of '${derivation}' in the references of output '${name}' from output '${other}'`,
      { derivation: this.#job.path },
    );
  }

  #unsupported(what: string): BuildFailure {
    return new BuildFailure('build-unsupported', `outputs of the kind '${what}' cannot be built by Larder`, {
      derivation: this.#job.path,
    });
  }

  #failure(code: BuildFailureCode, what: string, cause?: unknown): BuildFailure {
    const derivation = this.#context.store.storeDir.format(this.#job.path);
    return new BuildFailure(code, `builder for '${derivation}' ${what}`, {
      derivation: this.#job.path,
      cause,
    });
  }
}
