import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { evaluate } from './in-process.js';

/** Expressions of one type each, built from each other, so that nearly all of them have a value. */
const { int } = fc.letrec<Record<'int' | 'bool' | 'string' | 'list' | 'set', string>>((tie) => {
  const deep = (...options: fc.Arbitrary<string>[]) =>
    fc.oneof({ maxDepth: 4, withCrossShrink: true }, ...options);
  const int = tie('int');
  const bool = tie('bool');
  const string = tie('string');
  const list = tie('list');
  const set = tie('set');
  const join = (strings: TemplateStringsArray, ...parts: fc.Arbitrary<string>[]) =>
    fc
      .tuple(...parts)
      .map((values) => strings.reduce((text, piece, i) => text + piece + (values[i] ?? ''), ''));
  const name = fc.constantFrom('a', 'b', 'c');
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
    ),
  };
});

const rounds = Number(process.env['LARDER_FUZZ_ROUNDS'] ?? 4);

test('random expressions have the value stock Nix gives them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  for (let round = 0; round < rounds; round++) {
    const samples = fc.sample(
      fc.tuple(int, fc.noShrink(int)).map(([a, b]) => `[ ${a} ${b} ]`),
      { numRuns: 250, seed: 1000 + round },
    );
    const printed = await nix.run('nix-instantiate', [
      '--eval',
      '--strict',
      ...samples.flatMap((sample) => ['-E', sample]),
    ]);
    const expected = printed.split('\n');
    for (const [index, sample] of samples.entries()) assert.equal(evaluate(sample), expected[index], sample);
  }
});
