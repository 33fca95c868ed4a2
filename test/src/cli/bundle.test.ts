import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { runProgram } from '../oracle/program.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));

interface Manifest {
  readonly directory: string;
  readonly builds: readonly (readonly [file: string, size: number, modified: number])[];
  readonly outside: readonly string[];
  readonly caches: Readonly<Record<string, string>>;
}

async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(`${repository}/deploy/dist/bundle.json`, 'utf8')) as Manifest;
}

/** The loader in a clone that has nothing but the executable's bundle, and what says of which modules it is. */
async function copyBundle(scratch: Scratch) {
  const manifest = await readManifest();
  const copied = ['deploy/bin', 'deploy/dist/bundle.json', manifest.directory];
  for (const path of [...copied, ...manifest.builds.map(([file]) => file)]) {
    await cp(`${repository}/${path}`, scratch.join(path), { recursive: true, preserveTimestamps: true });
  }
  const { loadBundle } = createRequire(import.meta.url)(scratch.join('deploy/bin/bundle.js')) as {
    loadBundle: (verb?: string) => object | undefined;
  };
  return { manifest, isUsed: (verb?: string) => loadBundle(verb) !== undefined };
}

test('the bundle is used while it is of the modules that are there', async () => {
  await using scratch = await makeScratch('bundle');
  const { manifest, isUsed } = await copyBundle(scratch);
  assert.ok(isUsed('copy'));
  for (const verb of manifest.outside) assert.ok(!isUsed(verb), `${verb} runs from its modules`);
  const [file] = manifest.builds.at(-1)!;
  await utimes(scratch.join(file), new Date(), new Date());
  assert.ok(!isUsed('copy'), 'the compiler has run since');
  for (const [each] of manifest.builds) await rm(scratch.join(each));
  assert.ok(isUsed('copy'), 'what is installed somewhere comes without the notes of the compiler');
  await rm(scratch.join('deploy/dist/bundle.json'));
  assert.ok(!isUsed('copy'), 'there is none');
});

test('V8 takes its compiled form of the bundle, whatever the verb', async () => {
  const { directory, caches } = await readManifest();
  const filename = `${repository}/${directory}/larder.cjs`;
  const source = await readFile(filename, 'latin1');
  for (const name of new Set(['rest', ...Object.values(caches)])) {
    const cachedData = await readFile(`${repository}/${directory}/larder.${name}.cache`);
    const { cachedDataRejected } = new Script(source, { filename, cachedData });
    assert.equal(cachedDataRejected, false, name);
  }
});

test('without a bundle the executable runs from its modules, and says the same', async () => {
  await using scratch = await makeScratch('bundle');
  await cp(`${repository}/deploy/bin`, scratch.join('deploy/bin'), { recursive: true });
  await mkdir(scratch.join('deploy/dist/cli'), { recursive: true });
  const main = `${repository}/deploy/dist/cli/main.js`;
  await writeFile(scratch.join('deploy/dist/cli/main.js'), `import ${JSON.stringify(main)};`);
  await writeFile(scratch.join('deploy/package.json'), '{ "type": "module" }');
  const args = ['eval', '--expr', '{ a = builtins.length [ 1 2 ]; }', '--json'];
  const env = neutralEnvironment(scratch.path);
  const [bundled, unbundled] = await Promise.all(
    [`${repository}/deploy/bin/larder.js`, scratch.join('deploy/bin/larder.js')].map((executable) =>
      runProgram(process.execPath, [executable, ...args], { env }),
    ),
  );
  assert.equal(bundled?.toString(), '{"a":2}\n');
  assert.equal(unbundled?.toString(), '{"a":2}\n');
});
