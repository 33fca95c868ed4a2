// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluateError } from './in-process.js';

const at = (line: number, column: number): string => `at «string»:${line}:${column}:`;

/** Wrong programs, and what their message must say. */
const wrongPrograms: readonly (readonly [program: string, ...says: string[]])[] = [
  ['1 + "a"', 'error: cannot add a string to an integer', at(1, 5)],
  ['"a" + 1', 'cannot coerce an integer to a string: 1', 'while evaluating a path segment'],
  ['{ }.a', "attribute 'a' missing", "while evaluating the attribute 'a'"],
  ['{ foo = 1; }.fo', "attribute 'fo' missing", 'Did you mean foo?'],
  ['({ a }: a) { }', "called without required argument 'a'", 'from call site'],
  ['({ a }: a) { a = 1; b = 2; }', "called with unexpected argument 'b'"],
  ['x', "undefined variable 'x'", at(1, 1)],
  ['1 2', 'attempt to call something which is not a function but an integer: 1'],
  ['rec { a = b; b = a; }.a', 'infinite recursion encountered'],
  ['let x = x; in x', 'infinite recursion encountered'],
  ['(x: x x) (x: x x)', 'stack overflow; max-call-depth exceeded'],
  ['throw "my message"', "while calling the 'throw' builtin", 'error: my message'],
  ['abort "stop"', "evaluation aborted with the following error message: 'stop'"],
  ['assert 1 == 2; 3', "integer with value '1' is not equal to an integer with value '2'"],
  ['assert false; 1', "assertion 'false' failed"],
  ['builtins.head [ ]', "'builtins.head' called on an empty list"],
  ['builtins.elemAt [ 1 ] 1', "'builtins.elemAt' called with index 1 on a list of size 1"],
  ['9223372036854775807 + 1', 'integer overflow in adding 9223372036854775807 + 1'],
  ['(-9223372036854775807 - 1) * -1', 'integer overflow in multiplying'],
  ['1 / 0', 'division by zero'],
  ['if 1 then 2 else 3', 'expected a Boolean but found an integer: 1', 'while evaluating a branch condition'],
  ['[ 1 ] ++ 2', 'expected a list but found an integer: 2'],
  ['{ } // 1', 'expected a set but found an integer: 1', "in the right operand of '//'"],
  ['builtins.match "(" "x"', "invalid regular expression '('"],
  ['builtins.fromJSON "{"', '[json.exception.parse_error.101]', 'while decoding a JSON string'],
  ['{ a = 1; a = 2; }', "attribute 'a' already defined at «string»:1:3", at(1, 10)],
  ['{ a, a }: 1', "duplicate formal function argument 'a'"],
  ['let x = 1', 'syntax error, unexpected end of file'],
  ['(1', "syntax error, unexpected end of file, expecting ')'"],
  ['{ x = 1 }', "syntax error, unexpected '}', expecting ';'"],
  ['"${', 'syntax error, unexpected end of file'],
  ['99999999999999999999', "invalid integer '99999999999999999999'"],
  ['./foo/', 'path has a trailing slash'],
  ['1 |> toString', "experimental Nix feature 'pipe-operators' is disabled"],
  ['builtins.readFile /does/not/exist', "path '/does/not/exist' does not exist"],
  ['import /does/not/exist.nix', "path '/does/not/exist.nix' does not exist"],
  ['<nowhere>', "file 'nowhere' was not found in the Nix search path (add it using $NIX_PATH or -I)"],
  ['derivation { name = "x"; }.outPath', 'error:'],
  ['(derivation { name = "x"; builder = "b"; }).outPath', "required attribute 'system' missing"],
  ['(derivation { name = "a b"; builder = "b"; system = "s"; }).outPath', "contains illegal character ' '"],
  [
    'builtins.toFile "x" (derivation { name = "d"; builder = "b"; system = "s"; }).outPath',
    'may not reference derivations',
  ],
  ['builtins.substring (-1) 1 "x"', "negative start position in 'substring'"],
  ['builtins.toJSON (x: x)', 'cannot convert a function to JSON'],
  ['builtins.genList (x: x) (-1)', 'cannot create list of size -1'],
  ['builtins.genericClosure { }', "attribute 'startSet' missing"],
  ['[ 1 ] < 2', 'cannot compare a list with an integer'],
  ['{ } < { }', 'cannot compare a set with a set; values of that type are incomparable'],
];

for (const [program, ...says] of wrongPrograms) {
  test(`wrong: ${program}`, () => {
    const message = evaluateError(program, { settings: { 'max-call-depth': '200' } });
    for (const text of says) assert.ok(message.includes(text), `${text}\nis not in:\n${message}`);
    assert.doesNotMatch(message, /\.[jt]s:\d+|RangeError|TypeError:|undefined is not/);
  });
}

test('a message shows the line, the column and the trace around it', () => {
  const message = evaluateError('let\n  f = x:\n    x + "a";\nin f 1', {
    settings: { 'show-trace': 'true' },
  });
  assert.equal(
    message,
    [
      'error:',
      '       … from call site',
      '         at «string»:4:4:',
      '            3|     x + "a";',
      '            4| in f 1',
      '             |    ^',
      '',
      "       … while calling 'f'",
      '         at «string»:2:7:',
      '            1| let',
      '            2|   f = x:',
      '             |       ^',
      '            3|     x + "a";',
      '',
      '       error: cannot add a string to an integer',
      '       at «string»:3:9:',
      '            2|   f = x:',
      '            3|     x + "a";',
      '             |         ^',
      '            4| in f 1',
    ].join('\n'),
  );
});
