import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NixError } from '@larder/builder/eval/errors';
import fc from 'fast-check';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { evaluate } from './in-process.js';

/** Expressions of one type each, built from each other, so that nearly all of them have a value. */
const { any } = fc.letrec<Record<'int' | 'float' | 'bool' | 'string' | 'list' | 'set' | 'any', string>>(
  (tie) => {
    const deep = (...options: fc.Arbitrary<string>[]) =>
      fc.oneof({ maxDepth: 4, withCrossShrink: true }, ...options);
    const int = tie('int');
    const any = tie('any');
    const float = tie('float');
    const bool = tie('bool');
    const string = tie('string');
    const list = tie('list');
    const set = tie('set');
    const join = (strings: TemplateStringsArray, ...parts: fc.Arbitrary<string>[]) =>
      fc
        .tuple(...parts)
        .map((values) => strings.reduce((text, piece, i) => text + piece + (values[i] ?? ''), ''));
    const name = fc.constantFrom('a', 'b', 'c');
    const pattern = fc.constantFrom(
      'a',
      '(a|b)+',
      '[a-z]*1',
      '([^-]*)-(.*)',
      ' ',
      '(.)(.?)',
      '[[:alpha:]]+',
      'x{1,2}y?',
    );
    return {
      int: deep(
        fc.integer({ min: -1000, max: 1000 }).map((n) => `(${n})`),
        join`(${int} + ${int})`,
        join`(${int} - ${int})`,
        join`(${int} * ${int})`,
        join`(let x = ${int}; in x + ${int})`,
        join`(if ${bool} then ${int} else ${int})`,
        join`(builtins.length ${list})`,
        join`(builtins.stringLength ${string})`,
        join`((x: x + ${int}) ${int})`,
        join`(${set}.${name} or ${int})`,
        join`(builtins.foldl' (p: q: p + q) ${int} ${list})`,
        join`(({ a ? ${int}, b ? a, ... }: a + b) { c = ${int}; })`,
        join`(({ a, b ? a }@all: if all ? b then b else a) (removeAttrs (${set} // { a = ${int}; }) [ "c" ]))`,
        join`(let n = ${int}; in ${int} / (if n == 0 then 7 else n))`,
        join`(builtins.bitAnd ${int} ${int} - builtins.bitXor ${int} (builtins.bitOr ${int} 3))`,
        join`(builtins.compareVersions ${string} ${string})`,
        join`(builtins.floor ${float} + builtins.ceil ${float})`,
        join`(builtins.elemAt (${list} ++ [ ${int} ]) 0)`,
        join`({ __functor = self: x: x + self.k; k = ${int}; } ${int})`,
        join`(let a = ${int}; in with { a = ${int}; w = ${int}; }; a * 2 + w)`,
        join`(let t = builtins.tryEval (assert ${bool}; ${int}); in if t.success then t.value else -1)`,
        join`(rec { a = { b = ${int}; c = d; }; d = a.b; }.a.c)`,
        join`(let f = n: if n <= 0 then 0 else n + f (n - 1); in f (builtins.bitAnd 15 ${int}))`,
        join`(builtins.length (builtins.genericClosure { startSet = [ { key = ${int}; } ]; operator = x: if x.key > 5 || x.key < 0 then [ ] else [ { key = x.key + 1; } ]; }))`,
      ),
      float: deep(
        fc.integer({ min: -400, max: 400 }).map((n) => `(${(n / 8).toFixed(3)})`.replace('(-', '(0.0 - ')),
        join`(${int} + ${float})`,
        join`(${float} * 0.25)`,
        join`(let n = ${int}; in ${float} / (if n == 0 then 4 else n))`,
      ),
      bool: deep(
        fc.constantFrom('true', 'false'),
        join`(${int} < ${int})`,
        join`(${int} == ${int})`,
        join`(${string} == ${string})`,
        join`(${set} == ${set})`,
        join`(${list} == ${list})`,
        join`(${set} ? ${name})`,
        join`(!${bool})`,
        join`(${bool} && ${bool})`,
        join`(${bool} -> ${bool})`,
        join`(builtins.elem ${int} ${list})`,
        join`(${string} < ${string} || ${float} >= ${int})`,
        join`(${list} < ${list})`,
        join`(${any} == ${any})`,
        join`(builtins.isString ${any} != builtins.isAttrs ${any})`,
        join`(builtins.any (x: x == ${int}) ${list} && builtins.all (x: x < ${int}) ${list})`,
        join`(builtins.tryEval (if ${bool} then throw ${string} else ${int})).success`.map(
          (text) => `(${text})`,
        ),
      ),
      string: deep(
        fc
          .string({ maxLength: 6, unit: fc.constantFrom('a', 'b', ' ', '-', '.', '1', '\\n', "'") })
          .map((s) => `"${s}"`),
        join`(${string} + ${string})`,
        join`"x\${toString ${int}}y"`,
        join`(toString ${int})`,
        join`(builtins.substring 0 3 ${string})`,
        join`(builtins.replaceStrings [ "a" ] [ ${string} ] ${string})`,
        join`(builtins.concatStringsSep "," (map toString ${list}))`,
        join`(builtins.toJSON ${set})`,
        join`(builtins.toXML [ ${set} ${string} ${bool} ])`,
        join`(builtins.hashString "sha256" ${string})`,
        join`(baseNameOf ("/" + ${string}))`,
        join`(let n = ${int}; in builtins.substring (if n < 0 then 0 - n else n) ${int} (${string} + ${string}))`,
        join`(builtins.replaceStrings [ "a" "" "-" ] [ ${string} "|" ${string} ] ${string})`,
        join`(builtins.toJSON (builtins.match "${pattern}" ${string}))`,
        join`(builtins.toJSON (builtins.split "${pattern}" ${string}))`,
        join`(builtins.toJSON [ (builtins.parseDrvName ${string}) (builtins.splitVersion ${string}) ])`,
        join`''\n    one\n      ''$two \${${string}}\n  three''`,
        join`(toString [ ${int} ${bool} ${list} null ${string} ])`,
        join`(toString { __toString = self: self.s; s = ${string}; })`,
        join`(builtins.typeOf ${any})`,
        join`(builtins.concatStringsSep "." (builtins.attrNames ${set}))`,
        join`"\${${string}}\${if ${bool} then "y" else ${string}}"`,
      ),
      list: deep(
        fc.constant('[ ]'),
        join`[ ${int} ${int} ]`,
        join`(${list} ++ ${list})`,
        join`(map (x: x + ${int}) ${list})`,
        join`(builtins.filter (x: x > ${int}) ${list})`,
        join`(builtins.sort (p: q: p < q) ${list})`,
        join`(builtins.genList (x: x * ${int}) 3)`,
        join`(builtins.attrValues ${set})`,
        join`(builtins.concatMap (x: [ x ${int} ]) ${list})`,
        join`(let p = builtins.partition (x: x < ${int}) ${list}; in p.wrong ++ p.right)`,
        join`(builtins.catAttrs "${name}" [ ${set} ${set} ])`,
        join`(builtins.tail ([ ${int} ] ++ ${list}))`,
        join`(builtins.concatLists [ ${list} ${list} ])`,
      ),
      set: deep(
        fc.constant('{ }'),
        join`{ ${name} = ${int}; }`,
        join`rec { a = ${int}; b = a + ${int}; }`,
        join`(${set} // ${set})`,
        join`(with { w = ${int}; }; { a = w; b = ${int}; })`,
        join`(removeAttrs ${set} [ "${name}" ])`,
        join`(builtins.mapAttrs (n: v: v + ${int}) ${set})`,
        join`(builtins.listToAttrs [ { name = "c"; value = ${int}; } ])`,
        join`(let { body = { ${name} = x; }; x = ${int}; })`,
        join`(builtins.intersectAttrs ${set} ${set})`,
        join`(builtins.zipAttrsWith (n: vs: builtins.foldl' (a: b: a + b) 0 vs) [ ${set} ${set} ])`,
        join`(builtins.mapAttrs (n: builtins.length) (builtins.groupBy (x: if x < ${int} then "a" else "b") ${list}))`,
        join`{ \${if ${bool} then "${name}" else null} = ${int}; }`,
        join`{ x.a = ${int}; x.b = ${int}; "x".c = ${int}; }.x`.map((text) => `(${text})`),
        join`(let inherit ({ a = ${int}; b = ${int}; }) a b; in { inherit a b; })`,
        join`(builtins.fromJSON (builtins.toJSON ${set}))`,
      ),
      any: fc.oneof(int, float, bool, string, list, set),
    };
  },
);

const rounds = Number(process.env['LARDER_FUZZ_ROUNDS'] ?? 4);

/** The values stock Nix gives, a line each; where one of many fails, each is asked for alone, and is `undefined` if it fails. */
async function askNix(nix: Nix, programs: readonly string[]): Promise<(string | undefined)[]> {
  const args = ['--eval', '--strict', ...programs.flatMap((program) => ['-E', program])];
  const { status, stdout } = await nix.try('nix-instantiate', args);
  if (status === 0) return stdout.toString().trimEnd().split('\n');
  if (programs.length === 1) return [undefined];
  const middle = Math.floor(programs.length / 2);
  return [...(await askNix(nix, programs.slice(0, middle))), ...(await askNix(nix, programs.slice(middle)))];
}

function evaluateOurselves(program: string): string | undefined {
  try {
    return evaluate(program);
  } catch (error) {
    if (error instanceof NixError) return undefined;
    throw error;
  }
}

test('random expressions have the value stock Nix gives them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const differences: object[] = [];
  let failing = 0;
  for (let round = 0; round < rounds; round++) {
    const programs = fc.sample(
      fc.tuple(any, fc.noShrink(any)).map(([a, b]) => `[ ${a} ${b} ]`),
      { numRuns: 250, seed: 1000 + round },
    );
    const theirs = await askNix(nix, programs);
    assert.equal(theirs.length, programs.length);
    for (const [index, program] of programs.entries()) {
      const ours = evaluateOurselves(program);
      if (theirs[index] === undefined) failing++;
      if (ours !== theirs[index]) differences.push({ program, ours, theirs: theirs[index] });
    }
  }
  t.diagnostic(`${rounds * 250} programs, of which ${failing} fail`);
  assert.deepEqual(differences, []);
});
