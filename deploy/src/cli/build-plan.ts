import type { Plan } from '@larder/builder/realise/planner';
import type { StoreDir } from '@larder/signing/store-path';

/** A plan in the words of Nix's own commands, a line an element. */
export function formatPlan(plan: Plan, storeDir: StoreDir): string[] {
  const lines: string[] = [];
  if (plan.build.length > 0) {
    lines.push(
      plan.build.length === 1
        ? 'this derivation will be built:'
        : `these ${plan.build.length} derivations will be built:`,
    );
    lines.push(...plan.build.map((path) => `  ${storeDir.format(path)}`));
  }
  if (plan.fetch.length > 0) {
    const what = plan.fetch.length === 1 ? 'this path' : `these ${plan.fetch.length} paths`;
    const sizes = `(${mebibytes(plan.downloadSize)} MiB download, ${mebibytes(plan.unpackedSize)} MiB unpacked)`;
    lines.push(`${what} will be fetched ${sizes}:`);
    lines.push(...plan.fetch.map(({ info }) => `  ${storeDir.format(info.storePath)}`).sort());
  }
  if (plan.unknown.length > 0) {
    lines.push("don't know how to build these paths:");
    lines.push(...plan.unknown.map((path) => `  ${storeDir.format(path)}`));
  }
  if (plan.incomplete.length > 0) {
    lines.push('caches have paths that refer to these, but not these themselves:');
    lines.push(...plan.incomplete.map((path) => `  ${storeDir.format(path)}`));
  }
  return lines;
}

/** As Nix sees it: what no cache has is unknown, whatever is done about it. */
export function planAsNix(plan: Plan): Plan {
  const unknown = [...new Set([...plan.unknown, ...plan.incomplete])].sort();
  return { ...plan, unknown, incomplete: [] };
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(2);
}
