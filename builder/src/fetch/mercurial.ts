import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, lstatSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LarderError } from '@larder/signing/errors';
import { readBuilderEnvironment } from '../config.js';
import type { FetchInput } from '../eval/host.js';

const run = promisify(execFile);

/** Runs `hg` without the user's own configuration, whose hooks and aliases would change what it prints. */
async function hg(...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run('hg', [...args], {
      env: { ...readBuilderEnvironment().variables, HGPLAIN: '1' },
      maxBuffer: 256 * 1024 * 1024,
    });
    return stdout.replace(/\n$/, '');
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string };
    if (code === 'ENOENT') {
      throw new LarderError(
        'mercurial-missing',
        "fetching from a Mercurial repository needs the program 'hg', which is not installed",
      );
    }
    throw new LarderError('mercurial-failed', `hg ${args[0]} failed: ${(stderr ?? '').trim()}`, {
      cause: error,
    });
  }
}

interface MercurialTree {
  readonly tree: string;
  readonly attrs: FetchInput;
}

/** The tracked files of a working directory with changes, which are what it stands for. */
async function copyChanged(repository: string, tree: string): Promise<FetchInput> {
  const listed = await hg(
    'status',
    '-R',
    repository,
    '--clean',
    '--modified',
    '--added',
    '--no-status',
    '--print0',
  );
  for (const file of listed.split('\0')) {
    if (file === '') continue;
    const target = join(tree, file);
    mkdirSync(dirname(target), { recursive: true });
    if (lstatSync(join(repository, file)).isSymbolicLink()) {
      cpSync(join(repository, file), target, { verbatimSymlinks: true });
    } else copyFileSync(join(repository, file), target);
  }
  return { ref: await hg('branch', '-R', repository) };
}

async function isChanged(repository: string): Promise<boolean> {
  return (await hg('status', '-R', repository, '--modified', '--added', '--removed')) !== '';
}

/** A clone of a repository that has the wanted revision. */
async function mirror(url: string, wanted: string, cacheDir: string): Promise<string> {
  const repository = join(cacheDir, 'hg', createHash('sha256').update(url).digest('hex'));
  if (!existsSync(join(repository, '.hg'))) {
    mkdirSync(dirname(repository), { recursive: true });
    await hg('clone', '--noupdate', '--', url, repository);
    return repository;
  }
  const isRevision = /^[0-9a-f]{40}$/.test(wanted);
  const known = isRevision && (await hg('log', '-R', repository, '-r', wanted).catch(() => undefined));
  if (known === undefined || known === false) await hg('pull', '-R', repository, '--', url);
  return repository;
}

/** Fetches a tree from a Mercurial repository below `directory`. */
export async function fetchMercurialTree(
  input: FetchInput,
  directory: string,
  cacheDir: string,
): Promise<MercurialTree> {
  const url = String(input.url);
  const local = url.startsWith('file://') ? fileURLToPath(url) : undefined;
  const tree = join(directory, 'tree');
  let ref = input.ref === undefined ? undefined : String(input.ref);
  if (local !== undefined && existsSync(join(local, '.hg')) && ref === undefined && input.rev === undefined) {
    if (await isChanged(local)) {
      mkdirSync(tree);
      return { tree, attrs: await copyChanged(local, tree) };
    }
    ref = await hg('branch', '-R', local);
  }
  const wanted = String(input.rev ?? ref ?? 'default');
  const repository = await mirror(local ?? url, wanted, cacheDir);
  const found = await hg('log', '-R', repository, '-r', wanted, '--template', '{node} {rev} {branch}');
  const [rev = '', count = '', branch = ''] = found.split(' ');
  await hg('archive', '-R', repository, '-r', rev, tree);
  await rm(join(tree, '.hg_archival.txt'), { force: true });
  return { tree, attrs: { rev, revCount: Number(count), ref: branch } };
}
