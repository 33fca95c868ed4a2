import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { ClosureGraph } from '@larder/substituter/care/closure-graph';
import { findMentions, type Mention } from '@larder/substituter/care/find-mentions';
import type { Command } from 'commander';
import { addClosureOptions, type ClosureOptions, type ClosureView, viewClosures } from './closure-session.js';
import { createVerb } from './command.js';

interface WhyDependsOptions extends ClosureOptions {
  readonly all?: boolean;
  readonly precise?: boolean;
}

export function createCommand(): Command {
  const verb = createVerb('why-depends', {
    summary: 'Show through which references a path depends on another. Exit status 1 if it does not.',
    examples: [
      ['larder why-depends ./result /nix/store/…-openssl-3.0.14', 'the shortest way from one to the other'],
      [
        'larder why-depends --precise ./result /nix/store/…-gcc-13',
        'with the files that hold the references',
      ],
    ],
  })
    .argument('<path>', 'a store path, or a link to one')
    .argument('<dependency>', 'what it should not need')
    .option('-a, --all', 'every way, not only the shortest; what was shown before is not repeated')
    .option('--precise', 'name the files that mention each reference; reads the contents');
  return addClosureOptions(verb).action(runWhyDepends);
}

/** A path, why it is there, and what of it leads on. */
interface Step {
  readonly path: StorePath;
  /** Files of the path before that mention this one. */
  readonly mentions?: readonly Mention[];
  /** Shown before: what follows is not repeated. */
  readonly repeated?: true;
  readonly references: readonly Step[];
}

async function runWhyDepends(from: string, to: string, options: WhyDependsOptions): Promise<void> {
  await viewClosures([from, to], options, async (view) => {
    const [path, dependency] = view.named as [StorePath, StorePath];
    const graph = new ClosureGraph(await view.closure([path]));
    if (!graph.has(dependency)) {
      const { storeDir } = view.source;
      throw new LarderError(
        'no-dependency',
        `${storeDir.format(path)} does not depend on ${storeDir.format(dependency)}`,
        { fields: { path, dependency } },
      );
    }
    const tree = await new WayFinder(graph, dependency, { view, ...options }).from(path);
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify(tree, undefined, 2)}\n`
        : `${[view.source.storeDir.format(path), ...drawSteps(tree, view, '')].join('\n')}\n`,
    );
  });
}

/** Follows references towards a path, the shortest way first. */
class WayFinder {
  readonly #graph: ClosureGraph;
  readonly #distances: ReadonlyMap<StorePath, number>;
  readonly #options: WhyDependsOptions & { readonly view: ClosureView };
  readonly #shown = new Set<StorePath>();

  constructor(
    graph: ClosureGraph,
    target: StorePath,
    options: WhyDependsOptions & { readonly view: ClosureView },
  ) {
    this.#graph = graph;
    this.#distances = graph.distancesTo(target);
    this.#options = options;
  }

  async from(path: StorePath, mentions?: readonly Mention[]): Promise<Step> {
    const leading = this.#graph
      .references(path)
      .filter((each) => this.#distances.has(each))
      .sort((a, b) => this.#distances.get(a)! - this.#distances.get(b)! || (a < b ? -1 : 1));
    if (this.#shown.has(path) && leading.length > 0)
      return { path, mentions, repeated: true, references: [] };
    this.#shown.add(path);
    const followed = this.#options.all === true ? leading : leading.slice(0, 1);
    const found = await this.#mentions(path, followed);
    const references: Step[] = [];
    for (const each of followed) references.push(await this.from(each, found?.get(each)));
    return { path, mentions, references };
  }

  async #mentions(path: StorePath, of: readonly StorePath[]): Promise<Map<StorePath, Mention[]> | undefined> {
    if (this.#options.precise !== true || of.length === 0) return undefined;
    const { source, session } = this.#options.view;
    return findMentions(path, of, { source, signal: session.signal });
  }
}

function* drawSteps({ references }: Step, view: ClosureView, indent: string): Generator<string> {
  for (const [index, step] of references.entries()) {
    const last = index === references.length - 1;
    const name = view.source.storeDir.format(step.path);
    yield `${indent}${last ? '└───' : '├───'}${name}${step.repeated ? ' (see above)' : ''}`;
    const below = `${indent}${last ? '    ' : '│   '}`;
    for (const { file, excerpt } of step.mentions ?? []) yield `${below}${file}: ${excerpt}`;
    yield* drawSteps(step, view, below);
  }
}
