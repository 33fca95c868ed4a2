import type { PathInfo } from '@larder/signing/path-info';
import { sortByReferences } from '@larder/signing/path-info';
import { type StorePath, storePathName } from '@larder/signing/store-path';
import { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { ClosureGraph } from '@larder/substituter/care/closure-graph';
import { type Command, Option } from 'commander';
import { parseDerivationName } from '../rebuild/package-name.js';
import { addClosureOptions, type ClosureOptions, type ClosureView, viewClosures } from './closure-session.js';
import { createVerb, usageError } from './command.js';
import { formatBytes } from './units.js';

interface DuOptions extends ClosureOptions {
  readonly top: string;
  readonly sort: 'retained' | 'size' | 'closure' | 'name';
  readonly byPackage?: boolean;
}

export function createCommand(): Command {
  const verb = createVerb('du', {
    summary: 'Show what makes a closure, or the whole store, big.',
    examples: [
      ['larder du ./result', 'the paths of a closure that keep most of it'],
      ['larder du --by-package --sort size', 'what this store holds, by package'],
      ['larder du --store https://cache.example.org --json /nix/store/…-system', 'everything, as JSON'],
    ],
  })
    .argument('[path...]', 'store paths or links to them; without one, the whole store')
    .option('-n, --top <count>', 'how many rows, the biggest first; 0 for all', '20')
    .addOption(
      new Option('--sort <column>', 'what is big')
        .choices(['retained', 'size', 'closure', 'name'])
        .default('retained'),
    )
    .option('--by-package', 'one row for all paths of a package, whatever their version');
  return addClosureOptions(verb).action(runDu);
}

/** One row: a path, or a package with all its paths. Sizes are bytes of NAR. */
interface Row {
  readonly name: string;
  /** Of the path itself. */
  readonly size: number;
  /** Of the path and what nothing else here keeps. */
  readonly retained: number;
  /** Of the path and all it refers to. */
  readonly closure: number;
  readonly paths: number;
}

async function runDu(texts: string[], options: DuOptions): Promise<void> {
  const top = Number(options.top);
  if (!Number.isSafeInteger(top) || top < 0)
    throw usageError(`--top takes a number of rows, not '${options.top}'`);
  await viewClosures(texts, options, async (view) => {
    const graph = new ClosureGraph(await choosePaths(view));
    const rows = (options.byPackage === true ? packageRows(graph) : pathRows(graph, view)).sort(
      (a, b) => compare(a, b, options.sort) || (a.name < b.name ? -1 : 1),
    );
    const shown = top === 0 ? rows : rows.slice(0, top);
    const total = graph.paths.reduce((sum, { narSize }) => sum + narSize, 0);
    const summary = { paths: graph.paths.length, size: total };
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ ...summary, rows: shown }, undefined, 2)}\n`
        : formatTable(shown, { ...summary, rows: rows.length }),
    );
  });
}

async function choosePaths({ named, source, closure }: ClosureView): Promise<PathInfo[]> {
  if (named.length > 0) return closure(named);
  if (source instanceof BinaryCache)
    throw usageError('a cache cannot be asked for all it has: name the paths');
  const infos = await Promise.all(
    (await source.queryAllValidPaths()).map((path) => source.queryPathInfo(path)),
  );
  return sortByReferences(infos.filter((info) => info !== undefined));
}

function pathRows(graph: ClosureGraph, { source }: ClosureView): Row[] {
  const retained = graph.retainedSizes();
  return graph.paths.map(({ storePath, narSize }) => ({
    name: source.storeDir.format(storePath),
    size: narSize,
    retained: retained.get(storePath) ?? narSize,
    closure: graph.closureSize(storePath),
    paths: 1,
  }));
}

/** A package's retained size is that of its paths together, each byte once. */
function packageRows(graph: ClosureGraph): Row[] {
  const packages = new Map<string, StorePath[]>();
  const sizes = new Map<StorePath, number>();
  for (const { storePath, narSize } of graph.paths) {
    const { name } = parseDerivationName(storePathName(storePath));
    const members = packages.get(name);
    if (members === undefined) packages.set(name, [storePath]);
    else members.push(storePath);
    sizes.set(storePath, narSize);
  }
  return [...packages].map(([name, members]) => ({
    name,
    size: members.reduce((sum, path) => sum + sizes.get(path)!, 0),
    retained: graph.retainedSize(members),
    closure: graph.closureSize(...members),
    paths: members.length,
  }));
}

function compare(a: Row, b: Row, column: DuOptions['sort']): number {
  return column === 'name' ? 0 : b[column] - a[column];
}

interface Totals {
  readonly paths: number;
  readonly size: number;
  readonly rows: number;
}

function formatTable(rows: readonly Row[], { paths, size, rows: all }: Totals): string {
  const columns = ['SIZE', 'RETAINED', 'CLOSURE'].map((title) => title.padStart(9)).join(' ');
  const lines = rows.map((row) => {
    const sizes = [row.size, row.retained, row.closure].map((bytes) => formatBytes(bytes).padStart(9));
    return `${sizes.join(' ')}  ${row.name}${row.paths > 1 ? ` (${row.paths} paths)` : ''}`;
  });
  const rest = all > rows.length ? [`… and ${all - rows.length} more: --top 0 shows all`] : [];
  return `${[columns, ...lines, ...rest, `${formatBytes(size)} in ${paths} paths`].join('\n')}\n`;
}
