import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatFlakeRef, parseFlakeRef } from './flake-ref.js';

const rev = 'e1fb4a0bb089752e1d7bddd2b5641c50119bff96';
const locked = { lastModified: 1795715213, narHash: 'sha256-a+b/c=' };

test('a reference that was read is written the same', () => {
  for (const text of [
    'github:NixOS/nixpkgs',
    `github:NixOS/nixpkgs/${rev}?dir=lib`,
    'gitlab:group/project/main?host=git.example.org',
    `git+https://example.org/a?ref=main&rev=${rev}&shallow=1&submodules=1`,
    'git://example.org/a',
    'path:/some/where?lastModified=12&narHash=sha256-a%2Bb/c%3D',
    'https://example.org/a.tar.gz?narHash=sha256-a%2Bb/c%3D',
    'tarball+https://example.org/a',
    'https://example.org/a.json',
    'file+https://example.org/a.zip',
    'flake:nixpkgs/release',
  ])
    assert.equal(formatFlakeRef(parseFlakeRef(text)!), text);
});

test('what follows from the revision of a repository is not written', () => {
  const git = { type: 'git', url: 'file:///a', ref: 'trunk', rev, revCount: 3, allRefs: true, ...locked };
  assert.equal(
    formatFlakeRef({ ...git, submodules: false, dir: 'sub' }),
    `git+file:///a?dir=sub&ref=trunk&rev=${rev}`,
  );
  const github = { type: 'github', owner: 'a', repo: 'b', rev, ...locked };
  assert.equal(formatFlakeRef(github), `github:a/b/${rev}?narHash=sha256-a%2Bb/c%3D`);
});

test('what a query has for the server stays in the address', () => {
  const archive = parseFlakeRef('https://example.org/x.tar.gz?token=a/b+c&dir=lib&rev=1&narHash=sha256-x');
  assert.deepEqual(archive, {
    type: 'tarball',
    url: 'https://example.org/x.tar.gz?token=a/b%2Bc',
    dir: 'lib',
    rev: '1',
    narHash: 'sha256-x',
  });
  assert.equal(
    formatFlakeRef(archive!),
    'https://example.org/x.tar.gz?dir=lib&narHash=sha256-x&token=a/b%2Bc',
  );
  const repository = parseFlakeRef('git+https://example.org/x?token=a&ref=main');
  assert.deepEqual(repository, { type: 'git', url: 'https://example.org/x?token=a', ref: 'main' });
  assert.equal(formatFlakeRef(repository!), 'git+https://example.org/x?ref=main&token=a');
});
