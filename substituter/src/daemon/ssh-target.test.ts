import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { quoteForShell, splitWords, sshCommand } from './ssh-target.js';

test('words are split as a shell splits them', () => {
  for (const text of [
    '-i key  -p 22',
    `-o "ProxyCommand nc %h 22" -F none`,
    `a'b c'd "e \\" f" g\\ h ''`,
    '',
    `"\\$x"`,
  ]) {
    const script = `for word in ${text}; do printf '%s\\0' "$word"; done`;
    const shell = execFileSync('/bin/sh', ['-c', script]).toString().split('\0').slice(0, -1);
    assert.deepEqual(splitWords(text), shell, text);
  }
});

test('quoted words reach a shell as they are', () => {
  for (const word of ['nix-daemon', 'a b', "it's", '$HOME', '*', '', 'local?root=/x&y']) {
    assert.equal(execFileSync('/bin/sh', ['-c', `printf %s ${quoteForShell(word)}`]).toString(), word);
  }
});

test('ssh is told the user, port, key, host key and what NIX_SSHOPTS says', () => {
  const target = {
    host: 'h',
    user: 'me',
    port: 2222,
    keyFile: '/k',
    hostKey: 'ssh-ed25519 AAAA',
    options: ['-4'],
  };
  assert.deepEqual(sshCommand(target, ['nix-daemon', '--stdio']), [
    'ssh',
    'me@h',
    '-x',
    '-4',
    '-i',
    '/k',
    '-oUserKnownHostsFile=/dev/null',
    '-oKnownHostsCommand=/usr/bin/env echo %H ssh-ed25519 AAAA',
    '-p2222',
    '--',
    'nix-daemon',
    '--stdio',
  ]);
  assert.deepEqual(sshCommand({ host: 'localhost', options: [] }, ['x']), ['/bin/sh', '-c', 'x']);
});
