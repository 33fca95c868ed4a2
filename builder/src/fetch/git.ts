import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LarderError } from '@larder/signing/errors';
import type { FetchInput, SourceStamp } from '../eval/host.js';
import { runGit } from './run-git.js';
import { stampWorkTree } from './source-stamps.js';
import { unpackTar } from './unpack.js';

interface GitTree {
  readonly tree: string;
  readonly attrs: FetchInput;
  /** The branch that was taken because none was named. */
  readonly ref?: string;
  /** What it was made of; absent where that is not to be told. */
  readonly sources?: readonly SourceStamp[];
}

/** Files of a commit, without what `export-ignore` leaves out unless they are asked for. */
async function exportCommit(repository: string, rev: string, target: string): Promise<void> {
  mkdirSync(target);
  const child = spawn('git', ['-C', repository, 'archive', '--format=tar', rev], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const finished = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  await unpackTar(child.stdout, target);
  if ((await finished) !== 0)
    throw new LarderError('git-failed', `git archive of ${rev} failed in ${repository}`);
}

/** A checkout that keeps `export-ignore` files, with its submodules if they are asked for. */
async function checkOut(
  repository: string,
  rev: string,
  options: { target: string; submodules: boolean },
): Promise<void> {
  const { target, submodules } = options;
  await runGit(['clone', '--quiet', '--no-checkout', repository, target]);
  await runGit(['-c', 'advice.detachedHead=false', 'checkout', '--quiet', rev], target);
  if (submodules) {
    await runGit(
      ['-c', 'protocol.file.allow=always', 'submodule', 'update', '--quiet', '--init', '--recursive'],
      target,
    );
  }
  await rm(join(target, '.git'), { recursive: true, force: true });
}

async function commitAttrs(repository: string, rev: string, shallow: boolean): Promise<FetchInput> {
  const lastModified = Number(
    await runGit(['log', '-1', '--format=%ct', '--no-show-signature', rev], repository),
  );
  if (shallow) return { rev, lastModified };
  return { rev, lastModified, revCount: Number(await runGit(['rev-list', '--count', rev], repository)) };
}

/** The tracked files of a working tree, changes and all: what a repository named by its path stands for. */
async function copyWorkingTree(repository: string, target: string): Promise<void> {
  mkdirSync(target);
  const files = (await runGit(['ls-files', '-z'], repository)).split('\0').filter((file) => file !== '');
  for (const file of files) {
    if (!existsSync(join(repository, file))) continue;
    cpSync(join(repository, file), join(target, file), { recursive: true, verbatimSymlinks: true });
  }
}

/** A work tree with changes that are not committed; undefined for one without. */
async function fetchDirty(repository: string, directory: string): Promise<GitTree | undefined> {
  const dirty = (await runGit(['status', '--porcelain', '--untracked-files=no'], repository)) !== '';
  if (!dirty) return undefined;
  const tree = join(directory, 'tree');
  await copyWorkingTree(repository, tree);
  const rev = await runGit(['rev-parse', 'HEAD'], repository).catch(() => undefined);
  const lastModified =
    rev === undefined
      ? 0
      : Number(await runGit(['log', '-1', '--format=%ct', '--no-show-signature', rev], repository));
  const attrs: FetchInput =
    rev === undefined ? {} : { dirtyRev: `${rev}-dirty`, dirtyShortRev: `${rev.slice(0, 7)}-dirty` };
  return { tree, attrs: { ...attrs, lastModified } };
}

/** A bare mirror of a remote repository that has the wanted commit; gives it and the commit. */
async function mirror(
  url: string,
  input: FetchInput,
  cacheDir: string,
): Promise<{ repository: string; rev: string }> {
  const repository = join(cacheDir, 'git', digestOf(url));
  if (!existsSync(join(repository, 'HEAD'))) await createMirror(repository);
  const wanted = typeof input.rev === 'string' ? input.rev : undefined;
  if (wanted !== undefined) {
    const present = await runGit(['cat-file', '-e', `${wanted}^{commit}`], repository).then(
      () => true,
      () => false,
    );
    if (present) return { repository, rev: wanted };
  }
  const ref = typeof input.ref === 'string' ? input.ref : 'HEAD';
  const remote = ref === 'HEAD' || ref.startsWith('refs/') ? ref : `refs/heads/${ref}`;
  // Named after what it is of: others may fetch another reference meanwhile.
  const fetched = `refs/larder/${digestOf(remote)}`;
  const all = input.allRefs === true || wanted !== undefined ? ['+refs/*:refs/*'] : [];
  await runGit(['fetch', '--quiet', '--force', url, ...all, `+${remote}:${fetched}`], repository);
  return { repository, rev: wanted ?? (await runGit(['rev-parse', `${fetched}^{commit}`], repository)) };
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Made under another name, so that one that is there is whole; whoever makes the same meanwhile may be first. */
async function createMirror(repository: string): Promise<void> {
  const temporary = `${repository}-${randomUUID()}`;
  try {
    await runGit(['init', '--quiet', '--bare', temporary]);
    await rename(temporary, repository);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (!existsSync(join(repository, 'HEAD'))) throw error;
  }
}

/** An address or a name that git would take for one of its options is refused. @throws `input-malformed` */
function refuseOptions(input: FetchInput): void {
  for (const name of ['url', 'ref', 'rev']) {
    const text = input[name];
    if (typeof text !== 'string' || !text.startsWith('-')) continue;
    throw new LarderError('input-malformed', `the '${name}' of a git input begins with a dash: '${text}'`);
  }
}

/** Fetches a tree from a git repository below `directory`. */
export async function fetchGitTree(input: FetchInput, directory: string, cacheDir: string): Promise<GitTree> {
  refuseOptions(input);
  const url = String(input.url);
  const local = url.startsWith('file://') ? fileURLToPath(url) : url.startsWith('/') ? url : undefined;
  if (local !== undefined && !existsSync(local)) {
    throw new LarderError(
      'git-missing-repository',
      `getting status of '${local}': No such file or directory`,
    );
  }
  const isWorkTree =
    local !== undefined &&
    input.rev === undefined &&
    input.ref === undefined &&
    existsSync(join(local, '.git'));
  const sources = await sourcesOf(local, input, isWorkTree);
  if (isWorkTree) {
    const tree = await fetchDirty(local, directory);
    if (tree !== undefined) return { ...tree, ...(sources === undefined ? {} : { sources }) };
  }
  const { repository, rev, ref } = await locate(local, url, { input, cacheDir });
  const tree = join(directory, 'tree');
  const submodules = input.submodules === true;
  if (input.exportIgnore === true && !submodules) await exportCommit(repository, rev, tree);
  else await checkOut(repository, rev, { target: tree, submodules });
  const attrs = await commitAttrs(repository, rev, input.shallow === true);
  return {
    tree,
    attrs,
    ...(ref === undefined ? {} : { ref }),
    ...(sources === undefined ? {} : { sources }),
  };
}

/** A commit is made of nothing that changes; a work tree of its files; what else there is can be anything tomorrow. */
async function sourcesOf(
  local: string | undefined,
  input: FetchInput,
  isWorkTree: boolean,
): Promise<readonly SourceStamp[] | undefined> {
  if (input.rev !== undefined) return [];
  return isWorkTree && input.submodules !== true ? stampWorkTree(local!) : undefined;
}

/** The branch that another machine's repository has checked out. */
async function defaultBranch(url: string): Promise<string> {
  const told = await runGit(['ls-remote', '--symref', url, 'HEAD']);
  return /^ref: refs\/heads\/(\S+)/m.exec(told)?.[1] ?? 'master';
}

async function locate(
  local: string | undefined,
  url: string,
  { input, cacheDir }: { readonly input: FetchInput; readonly cacheDir: string },
): Promise<{ repository: string; rev: string; ref?: string }> {
  const isOpen = input.rev === undefined && input.ref === undefined;
  if (local === undefined) {
    const found = await mirror(url, input, cacheDir);
    return isOpen ? { ...found, ref: await defaultBranch(url) } : found;
  }
  const wanted = String(input.rev ?? input.ref ?? 'HEAD');
  try {
    const rev = await runGit(['rev-parse', '--verify', `${wanted}^{commit}`], local);
    const ref = isOpen ? await runGit(['rev-parse', '--abbrev-ref', 'HEAD'], local) : undefined;
    return { repository: local, rev, ...(ref === undefined ? {} : { ref }) };
  } catch {
    throw new LarderError(
      'git-no-such-revision',
      `Cannot find Git revision '${wanted}' in repository '${url}'`,
    );
  }
}
