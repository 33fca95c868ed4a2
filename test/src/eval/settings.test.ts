// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { evaluate, evaluateError } from './in-process.js';

const pipes = { settings: { 'experimental-features': 'pipe-operators' } };

test('pipe operators apply functions, below all others in precedence', () => {
  const programs: readonly (readonly [program: string, value: string])[] = [
    ['[ 1 2 ] |> map (x: x * 2) |> builtins.length', '2'],
    ['builtins.length <| map (x: x) <| [ 1 2 3 ]', '3'],
    ['1 + 2 |> (x: x * 10)', '30'],
    ['(x: x * 10) <| 1 + 2', '30'],
    ['{ a = 1; } // { b = 2; } |> builtins.attrNames', '[ "a" "b" ]'],
    ['true -> false |> builtins.typeOf', '"bool"'],
    ['1 |> (x: y: x + y) <| 2', ''],
  ];
  for (const [program, value] of programs) {
    if (value === '') assert.match(evaluateError(program, pipes), /syntax error, unexpected '<\|'/);
    else assert.equal(evaluate(program, pipes), value, program);
  }
  for (const program of ['1 |> toString', 'toString <| 1']) {
    assert.match(evaluateError(program), /experimental Nix feature 'pipe-operators' is disabled/);
  }
});

/** A directory with a file, and beside it one that nobody may read. */
async function makeTree(scratch: Scratch): Promise<void> {
  await mkdir(scratch.join('open/sub'), { recursive: true });
  await writeFile(scratch.join('open/file.nix'), '1 + 1');
  await writeFile(scratch.join('open/sub/file.nix'), 'import ../file.nix');
  await writeFile(scratch.join('closed.nix'), '3');
  await symlink('../closed.nix', scratch.join('open/link.nix'));
}

test('restricted evaluation reads the search path, and nothing beside it', async () => {
  await using scratch = await makeScratch('restricted');
  await makeTree(scratch);
  const restricted = {
    settings: { 'restrict-eval': 'true' },
    searchPath: [`open=${scratch.join('open')}`],
    workingDirectory: scratch.path,
  };
  assert.equal(evaluate('import <open/sub/file.nix>', restricted), '2');
  assert.equal(
    evaluate(`builtins.attrNames (builtins.readDir <open>)`, restricted),
    '[ "file.nix" "link.nix" "sub" ]',
  );
  const refused = [
    'import ./closed.nix',
    'import <open/link.nix>',
    'builtins.readFile ./closed.nix',
    'builtins.readFile (<open> + "/../closed.nix")',
    'builtins.readDir /etc',
    'builtins.hashFile "sha256" ./closed.nix',
    '"${./closed.nix}"',
    'builtins.path { path = ./closed.nix; }',
    'builtins.readFileType ./closed.nix',
  ];
  assert.equal(evaluate('map builtins.pathExists [ <open> ./closed.nix ]', restricted), '[ true false ]');
  for (const program of refused) {
    const message = evaluateError(program, restricted);
    assert.match(message, /access to absolute path '.*' is forbidden in restricted mode/, program);
  }
});

test('pure evaluation sees nothing of the machine', async () => {
  await using scratch = await makeScratch('pure');
  await makeTree(scratch);
  const pure = { settings: { 'pure-eval': 'true' }, workingDirectory: scratch.path };
  assert.equal(
    evaluate('[ (builtins ? currentTime) (builtins ? currentSystem) (builtins.getEnv "PATH") ]', pure),
    '[ false false "" ]',
  );
  const refused: readonly (readonly [program: string, says: RegExp])[] = [
    ['builtins.currentSystem', /attribute 'currentSystem' missing/],
    [
      '<open/file.nix>',
      /cannot look up '<open\/file.nix>' in pure evaluation mode \(use '--impure' to override\)/,
    ],
    ['~/x', /can not be resolved in pure mode/],
    [
      'import ./open/file.nix',
      /access to absolute path '.*' is forbidden in pure evaluation mode \(use '--impure' to override\)/,
    ],
    [
      'builtins.readFile /etc/passwd',
      /access to absolute path '\/etc\/passwd' is forbidden in pure evaluation mode/,
    ],
    [
      'builtins.fetchurl "http://example.org/x"',
      /in pure evaluation mode, 'fetchurl' requires a 'sha256' argument/,
    ],
    [
      'fetchTarball "http://example.org/x"',
      /in pure evaluation mode, 'fetchTarball' requires a 'sha256' argument/,
    ],
    ['fetchGit "http://example.org/x"', /in pure evaluation mode, 'fetchGit' doesn't fetch unlocked input/],
    [
      'builtins.storePath "/nix/store/00000000000000000000000000000000-x"',
      /'builtins.storePath' is not allowed in pure evaluation mode/,
    ],
  ];
  for (const [program, says] of refused) assert.match(evaluateError(program, pure), says, program);
});

test('restricted evaluation fetches what it is allowed, by whole parts of the address', () => {
  const fetch = (url: string, allowed: string) => () =>
    evaluate(`builtins.fetchurl "${url}"`, {
      settings: { 'restrict-eval': 'true', 'allowed-uris': allowed },
    });
  const forbidden = /access to URI '.*' is forbidden in restricted mode/;
  const cases: readonly (readonly [url: string, allowed: string, isAllowed: boolean])[] = [
    ['http://example.org/x', 'http://example.org/x', true],
    ['http://example.org/x/y', 'http://example.org/x', true],
    ['http://example.org/x', 'http://example.org/', true],
    ['http://example.org/x', 'http://other.org http://example.org', true],
    ['http://example.org/xy', 'http://example.org/x', false],
    ['http://example.org.evil.org/x', 'http://example.org', false],
    ['https://example.org/x', 'http://example.org', false],
    ['http://example.org/x', 'http:', true],
    ['http://example.org/x', '', false],
  ];
  for (const [url, allowed, isAllowed] of cases) {
    // What is allowed comes as far as the fetcher, which these tests do without.
    const end = isAllowed ? /has no store/ : forbidden;
    assert.throws(fetch(url, allowed), end, `${url} by ${allowed}`);
  }
});
