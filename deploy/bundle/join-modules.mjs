import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { build } from 'esbuild';

/** Verbs that run for long, on modules that only they use: they run unbundled. */
export const outsideVerbs = ['serve', 'proxy', 'admin'];

/** Modules that threads start with. */
const threadEntries = {
  'evaluation-thread': 'builder/dist/evaluation-thread.js',
  'nar-work-thread': 'signing/dist/nar-work-thread.js',
};
export const threads = Object.keys(threadEntries);

/** Packages that stay where they are: native ones, and big ones that few commands need. */
const apart =
  /^(better-sqlite3|fs-ext|zstd-napi|lzma-native|node-liblzma|undici|zod|@aws-sdk\/.*|@smithy\/.*)$/;

const ourModules = /\/(signing|substituter|builder|cache-server|deploy)\/dist\/.*\.js$/;

/** Writes `larder.cjs`, and a file for each thread, to a directory. */
export async function joinModules(root, directory) {
  const { outputFiles } = await build({
    entryPoints: { larder: 'deploy/dist/cli/dispatch.js', ...threadEntries },
    absWorkingDir: root,
    outdir: directory,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    supported: { 'dynamic-import': false },
    charset: 'ascii',
    legalComments: 'none',
    minifyWhitespace: true,
    lineLimit: 160,
    logLevel: 'warning',
    write: false,
    plugins: [placeModules(root), leavePackages(join(root, 'deploy/bin/bundle.js'))],
  });
  for (const { path, text } of outputFiles) await writeFile(path, wrap(text));
}

/** As a function that the loader calls. What is in it learns from that where modules lie. */
function wrap(text) {
  return `(function (module, require, { root, directory, importModule }) {
const moduleUrl = (path) => require('node:url').pathToFileURL(root + '/' + path).href;
${escapeRest(text)}
})`;
}

/** It is read as Latin-1, which takes no decoding. What esbuild leaves of other characters is in regular expressions. */
function escapeRest(text) {
  return text.replace(/[^\p{ASCII}]/gu, (character) =>
    [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/** Our modules find their neighbours by `import.meta.url`, which a joined file does not have. */
function placeModules(root) {
  const outside = new RegExp(`import\\('\\./((?:${outsideVerbs.join('|')})\\.js)'\\)`, 'g');
  return {
    name: 'place-modules',
    setup({ onLoad }) {
      onLoad({ filter: ourModules }, async ({ path }) => {
        const url = `moduleUrl(${JSON.stringify(relative(root, path))})`;
        const contents = (await readFile(path, 'utf8'))
          .replace(/^\/\/# sourceMappingURL=.*$/m, '')
          .replace(outside, (_, verb) => `importModule(moduleUrl('deploy/dist/cli/${verb}'))`)
          .replace(/new URL\('\.\/([\w-]+)\.js', import\.meta\.url\)/g, (whole, name) =>
            threads.includes(name) ? `directory + '/start-${name}.cjs'` : whole,
          )
          .replaceAll("createRequire(import.meta.url)('commander')", "require('commander')")
          .replaceAll('import.meta.url', url);
        return { contents, loader: 'js' };
      });
    },
  };
}

/** Packages that stay apart must be the same from the loader, which requires them, as from the module that wants them. */
function leavePackages(loader) {
  return {
    name: 'leave-packages',
    setup({ onResolve }) {
      onResolve({ filter: apart }, ({ path, importer }) => {
        const [wanted, found] = [importer, loader].map((from) => createRequire(from).resolve(path));
        if (wanted !== found)
          throw new Error(`${importer} wants ${wanted}, and the bundle would use ${found}`);
        return { path, external: true };
      });
    },
  };
}
