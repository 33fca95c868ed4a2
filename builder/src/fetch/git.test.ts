import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import type { FetchInput } from '../eval/host.js';
import { fetchGitTree } from './git.js';

let scratch: string;
/** Branches `main` and `side`, each with a file that says so. Git finds it under `url`, as if it were on another machine. */
let repository: string;
const url = 'https://larder.invalid/repository';
const variables: Record<string, string> = {};

before(() => {
  scratch = mkdtempSync(`${tmpdir()}/larder-git-`);
  repository = `${scratch}/repository`;
  Object.assign(variables, {
    HOME: scratch,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: `url.${repository}.insteadOf`,
    GIT_CONFIG_VALUE_0: url,
  });
  for (const [name, value] of Object.entries(variables)) process.env[name] = value;
  const identity = ['-c', 'user.name=nobody', '-c', 'user.email=nobody@localhost'];
  const git = (...args: string[]) => execFileSync('git', ['-C', repository, ...identity, ...args]);
  execFileSync('git', ['init', '--quiet', '--initial-branch=main', repository]);
  for (const branch of ['main', 'side']) {
    if (branch !== 'main') git('checkout', '--quiet', '-b', branch);
    writeFileSync(`${repository}/branch`, branch);
    git('add', '.');
    git('commit', '--quiet', `--message=${branch}`);
  }
});

after(() => {
  for (const name of Object.keys(variables)) delete process.env[name];
  rmSync(scratch, { recursive: true, force: true });
});

async function fetchBranch(branch: string, cache: string): Promise<string> {
  const directory = mkdtempSync(`${scratch}/fetch-`);
  const { tree } = await fetchGitTree({ type: 'git', url, ref: branch }, directory, `${scratch}/${cache}`);
  return readFileSync(`${tree}/branch`, 'utf8');
}

test('branches of one repository are fetched side by side, each as what it is', async () => {
  const asked = ['main', 'side', 'side', 'main', 'side', 'main'];
  assert.deepEqual(await Promise.all(asked.map((branch) => fetchBranch(branch, 'shared'))), asked);
});

test('a mirror that was cut off when it was made is made anew', async () => {
  mkdirSync(`${scratch}/cut-off/git/${createHash('sha256').update(url).digest('hex')}`, { recursive: true });
  assert.equal(await fetchBranch('side', 'cut-off'), 'side');
});

test('nothing that git would take for an option gets to it', async () => {
  const inputs: FetchInput[] = [
    { url: '--upload-pack=touch' },
    { url, ref: '--output=x' },
    { url, rev: '-x' },
  ];
  for (const input of inputs) {
    await assert.rejects(fetchGitTree({ type: 'git', ...input }, scratch, `${scratch}/cache`), {
      code: 'input-malformed',
      message: /begins with a dash/,
    });
  }
});
