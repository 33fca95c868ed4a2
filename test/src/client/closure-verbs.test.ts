import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import { type ClosureObject, makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';

describe('verbs that look at closures', () => {
  test('why-depends goes the way stock Nix shows, du adds up to what it says, diff names packages', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'why', paths: 7 });
    const paths = await importClosure(nix, objects);
    const store = ['--store', `local?root=${nix.root}`];
    const top = paths.at(-1)!;
    const sizes = JSON.parse(
      (await nix.run('nix', [...nixCommand, 'path-info', '--json', '-r', top])).toString(),
    ) as { path: string; narSize: number; references: string[] }[];
    for (const { path } of sizes) {
      const [ours, theirs] = await Promise.all([
        larder.run(['why-depends', ...store, top, path]),
        nix.run('nix', [...nixCommand, 'why-depends', top, path]),
      ]);
      if (path === top) continue;
      const stripped = stripVTControlCharacters(theirs);
      // Of several shortest ways either may be shown; the length is the same, and each step is a reference.
      assert.equal(ours.split('\n').length, stripped.trimEnd().split('\n').length);
      const steps = ours.split('\n').map((line) => line.replace(/^[ └─]*/, ''));
      for (const [index, step] of steps.entries()) {
        if (index === 0) continue;
        assert.ok(sizes.find((each) => each.path === steps[index - 1])!.references.includes(step));
      }
    }
    const du = JSON.parse(await larder.run(['du', ...store, '--json', '--top', '0', top]));
    assert.equal(du.paths, sizes.length);
    assert.equal(
      du.size,
      sizes.reduce((sum, { narSize }) => sum + narSize, 0),
    );
    assert.equal(du.rows[0].name, top);
    assert.equal(du.rows[0].retained, du.size);
    const whole = await larder.run(['du', ...store, '--by-package', '--sort', 'size']);
    assert.match(whole, /^ +SIZE +RETAINED +CLOSURE\n/);

    const unrelated = await larder.try(['why-depends', ...store, sizes[0]!.path, top]);
    assert.equal(unrelated.status, sizes[0]!.path === top ? 0 : 1);
    const same = await larder.run(['diff', ...store, top, top]);
    assert.match(same, /^No package differs\.\nClosure: .* \(as large as before\)$/);
  });

  test('why-depends --precise names the files, also across the edge of a chunk', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects: ClosureObject[] = [];
    const add = async (name: string, files: Readonly<Record<string, string>>, ...needs: StorePath[]) => {
      const storePath = parseStorePath(`${String(objects.length).padStart(32, '0')}-${name}`);
      const tree = nix.scratch.join(name);
      await mkdir(tree);
      for (const [file, text] of Object.entries(files)) await writeFile(`${tree}/${file}`, text);
      objects.push({
        storePath,
        tree,
        references: needs,
        deriver: parseStorePath(`${'0'.repeat(32)}-x.drv`),
      });
      return storePath;
    };
    const old = await add('library-0.9', { lib: 'older code' });
    const library = await add('library-1.0', { lib: 'code' });
    const mention = `/nix/store/${library}`;
    const files = {
      edge: `${'x'.repeat(262_130)}${mention}`,
      none: 'nothing of that kind',
      start: `${mention}\n`,
    };
    const program = await add('program-2.0', files, library);
    await importClosure(nix, objects);
    const store = ['--store', `local?root=${nix.root}`];
    const shown = await larder.run(['why-depends', ...store, '--precise', program, library]);
    assert.match(
      shown,
      /└───.*-library-1\.0\n {4}\/edge: …x+\/nix\/store\/[^\n]*…\n {4}\/start: …\/nix\/store/,
    );
    assert.doesNotMatch(shown, /none/);
    assert.match(await larder.run(['diff', ...store, old, library]), /^Changed:\n {2}library: 0\.9 → 1\.0/);
    const json = JSON.parse(await larder.run(['diff', ...store, '--json', old, program]));
    const added = json.added.map(({ name }: { name: string }) => name);
    assert.deepEqual(added, ['program']);
  });
});

const nixCommand = ['--extra-experimental-features', 'nix-command'];
