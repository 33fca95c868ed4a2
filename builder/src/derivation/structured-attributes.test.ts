import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatJson, isJsonObject, parseJson } from './json-value.js';
import { formatAttributesShell } from './structured-attributes.js';

test('numbers keep their kind and digits, laid out as in the JSON library of Nix', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['9223372036854775807', '9223372036854775807'],
    ['18446744073709551615', '18446744073709551615'],
    ['18446744073709551616', '1.8446744073709552e+19'],
    ['1.0', '1.0'],
    ['-0.0', '-0.0'],
    ['0.1', '0.1'],
    ['1e-9', '1e-09'],
    ['0.0001', '0.0001'],
    ['0.00001', '1e-05'],
    ['123456789012345.0', '123456789012345.0'],
    ['1e15', '1e+15'],
    ['1.5e300', '1.5e+300'],
    ['-12.25', '-12.25'],
  ];
  for (const [text, written] of cases) assert.equal(formatJson(parseJson(text)), written, text);
});

test('objects are written sorted by bytes and without blanks; the last of two equal names stays', () => {
  assert.equal(
    formatJson(
      parseJson(' { "b" : [ 1 , { } , [ ] ] , "a" : null, "ü": "\\u00fc\\n", "B": true, "b": false } '),
    ),
    '{"B":true,"a":null,"b":false,"ü":"ü\\n"}',
  );
});

test('what is not JSON is refused with the place', () => {
  for (const text of ['', '{', '[1,]', '{"a":1,}', '01', '1.', '"\n"', 'nul', '{"a" 1}', '1 2', '1e999']) {
    assert.throws(() => parseJson(text), { code: 'json-malformed' }, text);
  }
});

test('the shell file declares what bash can hold', () => {
  const attributes = parseJson(
    `{"text":"it's","whole":3,"double":2.0,"half":1.5,"yes":true,"no":false,"nothing":null,"list":["a",1,null],
      "nested":[[1]],"set":{"k":"v","b c":2},"deep":{"a":{}},"not a name":1,"huge":4294967297}`,
  );
  assert.ok(isJsonObject(attributes));
  assert.equal(
    formatAttributesShell(attributes),
    [
      'declare double=2',
      'declare huge=1',
      "declare -a list=('a' 1 '' )",
      'declare no=',
      "declare nothing=''",
      "declare -A set=(['b c']=2 ['k']='v' )",
      "declare text='it'\\''s'",
      'declare whole=3',
      'declare yes=1',
      '',
    ].join('\n'),
  );
});
