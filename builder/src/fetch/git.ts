import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LarderError } from '@larder/signing/errors';
import type { FetchInput } from '../eval/host.js';
import { unpackTar } from './unpack.js';

const run = promisify(execFile);

async function git(args: readonly string[], directory?: string): Promise<string> {
  try {
    const { stdout } = await run('git', directory === undefined ? [...args] : ['-C', directory, ...args], {
      maxBuffer: 256 * 1024 * 1024,
    });
    return stdout.trim();
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string };
    if (code === 'ENOENT') {
      throw new LarderError(
        'git-missing',
        "fetching from a git repository needs the program 'git', which is not installed",
      );
    }
    throw new LarderError('git-failed', `git ${args[0]} failed: ${(stderr ?? '').trim()}`, { cause: error });
  }
}

interface GitTree {
  readonly tree: string;
  readonly attrs: FetchInput;
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
  await git(['clone', '--quiet', '--no-checkout', repository, target]);
  await git(['-c', 'advice.detachedHead=false', 'checkout', '--quiet', rev], target);
  if (submodules) {
    await git(
      ['-c', 'protocol.file.allow=always', 'submodule', 'update', '--quiet', '--init', '--recursive'],
      target,
    );
  }
  await rm(join(target, '.git'), { recursive: true, force: true });
}

async function commitAttrs(repository: string, rev: string, shallow: boolean): Promise<FetchInput> {
  const lastModified = Number(
    await git(['log', '-1', '--format=%ct', '--no-show-signature', rev], repository),
  );
  if (shallow) return { rev, lastModified };
  return { rev, lastModified, revCount: Number(await git(['rev-list', '--count', rev], repository)) };
}

/** The tracked files of a working tree, changes and all: what a repository named by its path stands for. */
async function copyWorkingTree(repository: string, target: string): Promise<void> {
  mkdirSync(target);
  const files = (await git(['ls-files', '-z'], repository)).split('\0').filter((file) => file !== '');
  for (const file of files) {
    if (!existsSync(join(repository, file))) continue;
    cpSync(join(repository, file), join(target, file), { recursive: true, verbatimSymlinks: true });
  }
}

async function fetchLocal(
  repository: string,
  input: FetchInput,
  directory: string,
): Promise<GitTree | undefined> {
  if (input.rev !== undefined || input.ref !== undefined || !existsSync(join(repository, '.git')))
    return undefined;
  const dirty = (await git(['status', '--porcelain', '--untracked-files=no'], repository)) !== '';
  if (!dirty) return undefined;
  const tree = join(directory, 'tree');
  await copyWorkingTree(repository, tree);
  const rev = await git(['rev-parse', 'HEAD'], repository).catch(() => undefined);
  const lastModified =
    rev === undefined
      ? 0
      : Number(await git(['log', '-1', '--format=%ct', '--no-show-signature', rev], repository));
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
  const name = createHash('sha256').update(url).digest('hex');
  const repository = join(cacheDir, 'git', name);
  if (!existsSync(repository)) {
    mkdirSync(repository, { recursive: true });
    await git(['init', '--quiet', '--bare', repository]);
  }
  const wanted = typeof input.rev === 'string' ? input.rev : undefined;
  if (wanted !== undefined) {
    const present = await git(['cat-file', '-e', `${wanted}^{commit}`], repository).then(
      () => true,
      () => false,
    );
    if (present) return { repository, rev: wanted };
  }
  const ref = typeof input.ref === 'string' ? input.ref : 'HEAD';
  const remote = ref === 'HEAD' || ref.startsWith('refs/') ? ref : `refs/heads/${ref}`;
  const spec =
    input.allRefs === true || wanted !== undefined
      ? ['+refs/*:refs/*', `+${remote}:refs/larder/wanted`]
      : [`+${remote}:refs/larder/wanted`];
  await git(['fetch', '--quiet', '--force', url, ...spec], repository);
  return { repository, rev: wanted ?? (await git(['rev-parse', 'refs/larder/wanted^{commit}'], repository)) };
}

/** Fetches a tree from a git repository below `directory`. */
export async function fetchGitTree(input: FetchInput, directory: string, cacheDir: string): Promise<GitTree> {
  const url = String(input.url);
  const local = url.startsWith('file://') ? fileURLToPath(url) : url.startsWith('/') ? url : undefined;
  if (local !== undefined && !existsSync(local)) {
    throw new LarderError(
      'git-missing-repository',
      `getting status of '${local}': No such file or directory`,
    );
  }
  if (local !== undefined && statSync(local).isDirectory()) {
    const tree = await fetchLocal(local, input, directory);
    if (tree !== undefined) return tree;
  }
  const { repository, rev } = await locate(local, url, { input, cacheDir });
  const tree = join(directory, 'tree');
  const submodules = input.submodules === true;
  if (input.exportIgnore === true && !submodules) await exportCommit(repository, rev, tree);
  else await checkOut(repository, rev, { target: tree, submodules });
  return { tree, attrs: await commitAttrs(repository, rev, input.shallow === true) };
}

async function locate(
  local: string | undefined,
  url: string,
  { input, cacheDir }: { readonly input: FetchInput; readonly cacheDir: string },
): Promise<{ repository: string; rev: string }> {
  if (local === undefined) return mirror(url, input, cacheDir);
  const wanted = String(input.rev ?? input.ref ?? 'HEAD');
  try {
    return { repository: local, rev: await git(['rev-parse', '--verify', `${wanted}^{commit}`], local) };
  } catch {
    throw new LarderError(
      'git-no-such-revision',
      `Cannot find Git revision '${wanted}' in repository '${url}'`,
    );
  }
}
