import type { Command } from 'commander';
import { type ClosureDiff, diffClosures } from '../rebuild/closure-diff.js';
import { formatDiff } from '../rebuild/summary.js';
import { addClosureOptions, type ClosureOptions, viewClosures } from './closure-session.js';
import { createVerb } from './command.js';

export function createCommand(): Command {
  const verb = createVerb('diff', {
    summary: 'Show what changed between two closures, by package and bytes.',
    examples: [
      ['larder diff ./result-old ./result', 'what came, what went, which versions changed'],
      [
        'larder diff --json /nix/var/nix/profiles/system-41-link /nix/var/nix/profiles/system',
        'two generations of a system, for programs',
      ],
    ],
  })
    .argument('<old>', 'a store path, or a link to one')
    .argument('<new>', 'another');
  return addClosureOptions(verb).action(runDiff);
}

async function runDiff(before: string, after: string, options: ClosureOptions): Promise<void> {
  await viewClosures([before, after], options, async ({ named, closure }) => {
    const [was, is] = await Promise.all(
      named.map(async (path) =>
        (await closure([path])).map(({ storePath, narSize }) => ({ path: storePath, narSize })),
      ),
    );
    const diff = diffClosures(was!, is!);
    process.stdout.write(
      options.json === true ? `${JSON.stringify(diff satisfies ClosureDiff)}\n` : `${formatDiff(diff)}\n`,
    );
  });
}
