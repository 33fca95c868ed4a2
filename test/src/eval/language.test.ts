// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { expressions } from './expressions.js';
import { evaluate } from './in-process.js';

test('values are printed as stock Nix prints them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const args = ['--eval', '--strict', ...expressions.flatMap((each) => ['-E', each])];
  const printed = (await nix.run('nix-instantiate', args)).split('\n');
  assert.equal(printed.length, expressions.length);
  for (const [index, expression] of expressions.entries()) {
    await t.test(expression, () => {
      assert.equal(evaluate(expression), printed[index]);
    });
  }
});

const parsed: readonly string[] = [
  'a: { b, c ? 1, ... }@d: [ a b c d ]',
  'let x.z = 2; in x.z * (x.z.w or 4) * -3',
  'rec { "b c" = 1; ${d} = 2; }',
  'with a; assert b; if c then d else !e -> f ? g.h && i // j ++ k',
  "''\n  x ${y} z\n    w\n''",
  '<nixpkgs/lib> + ./a/b + ~/c + http://x.y/z',
  'a.b.c or d e "f${g}h" 1.5 [ 1 (2 + 3) ]',
];

test('expressions are parsed as stock Nix parses them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const { makeEvaluator } = await import('./in-process.js');
  const { showExpr } = await import('@larder/builder/eval/show-expr');
  const { parseSource } = await import('@larder/builder/eval/parser');
  makeEvaluator();
  for (const expression of parsed) {
    const free = 'a: b: c: d: e: f: g: h: i: j: k: q: y: z: ';
    const source = `${free}(${expression})`;
    const expected = await nix.run('nix-instantiate', ['--parse', '-E', source], { cwd: '/' });
    const origin = { kind: 'string', source: () => source } as const;
    const home = nix.environment.HOME ?? '/';
    const shown = showExpr(parseSource(source, origin, { basePath: '/', home }));
    assert.equal(normalise(shown), normalise(expected));
  }
});

/** Line ends of printed strings aside. */
function normalise(text: string): string {
  return text.replace(/\s+/g, ' ');
}
