import { LarderError } from '@larder/signing/errors';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { type Comparison, compareCaches } from '@larder/substituter/care/compare-caches';
import { openSource } from '@larder/substituter/open-store';
import type { PathSource } from '@larder/substituter/store';
import type { ClientSession } from './client-session.js';

export interface AgainstOptions {
  readonly against: readonly string[];
  readonly json?: boolean;
  readonly session: ClientSession;
  readonly source: PathSource;
}

/** Queries under way at a time, in each cache. */
const QUERIES = 32;

/**
 * `larder verify --against`: prints which paths other caches have with the same contents, with others, or not at
 * all. Gives whether none differs.
 */
export async function verifyAgainst(
  paths: readonly StorePath[],
  { against, json, session, source }: AgainstOptions,
): Promise<boolean> {
  const { signal } = session;
  const caches: PathSource[] = [];
  try {
    for (const uri of against) caches.push(await openSource(uri, session.context));
    const infos: PathInfo[] = [];
    for (const path of paths) {
      const info = await source.queryPathInfo(path, { signal });
      if (info === undefined)
        throw new LarderError('path-not-found', `${source.uri} does not have ${path}`, { fields: { path } });
      infos.push(info);
    }
    const comparisons = await compareCaches(infos, { caches, concurrency: QUERIES, signal });
    process.stdout.write(
      json === true ? comparisons.map(formatJson).join('') : formatReport(comparisons, source),
    );
    return comparisons.every(({ verdict }) => verdict !== 'differing');
  } finally {
    await Promise.all(caches.map((cache) => cache.close()));
  }
}

function formatJson({ path, narHash, verdict, answers }: Comparison): string {
  const told = answers.map((answer) => ({ ...answer, narHash: answer.narHash.format('sri') }));
  return `${JSON.stringify({ path, narHash: narHash.format('sri'), verdict, answers: told })}\n`;
}

function formatReport(comparisons: readonly Comparison[], { storeDir }: PathSource): string {
  const lines: string[] = [];
  for (const { path, narHash, verdict, answers } of comparisons) {
    if (verdict !== 'differing') continue;
    lines.push(`differing: ${storeDir.format(path)}`, `  here: ${narHash}`);
    for (const answer of answers)
      lines.push(`  ${answer.cache}: ${answer.narHash}${signedBy(answer.signers)}`);
  }
  for (const { path, verdict } of comparisons)
    if (verdict === 'unknown') lines.push(`unknown: ${storeDir.format(path)}`);
  const count = (wanted: Comparison['verdict']): number =>
    comparisons.filter(({ verdict }) => verdict === wanted).length;
  lines.push(
    `${count('reproducible')} reproducible, ${count('differing')} differing, ${count('unknown')} unknown of ${comparisons.length} paths`,
  );
  return `${lines.join('\n')}\n`;
}

function signedBy(signers: readonly string[]): string {
  return signers.length === 0 ? '' : ` (signed by ${signers.join(', ')})`;
}
