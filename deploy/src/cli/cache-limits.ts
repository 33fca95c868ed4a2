import type { CacheDescription, RetentionDescription } from '@larder/signing/upload';
import type { Command } from 'commander';
import { usageError } from './command.js';
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.js';

/** What says how much a cache keeps, for how long, and what is behind it. */
export interface RetentionOptions {
  readonly upstream?: string[];
  readonly upstreamKey?: string[];
  readonly signUpstream?: boolean;
  readonly retention?: string;
  readonly retentionAge?: string;
  readonly retentionUnused?: string;
  readonly retentionSize?: string;
  readonly retentionKeepLast?: string;
  readonly quota?: string;
}

export function addRetentionOptions(command: Command): Command {
  return command
    .option('--retention-age <time>', 'paths go so long after they were last pushed: 90d, 1y')
    .option('--retention-unused <time>', 'paths go when nobody pushed or fetched them for so long')
    .option('--retention-size <size>', 'the least recently used go until the rest has no more: 500GB')
    .option('--retention-keep-last <number>', 'newest revisions of each pin that are kept (1)')
    .option('--retention <none>', 'nothing goes; alone, or with what is to be from now on')
    .option('--quota <size>', 'uploads beyond are refused: 1TB, or none')
    .option(
      '--upstream <url...>',
      'caches to ask for what is not here, such as https://cache.nixos.org; or none',
    )
    .option('--upstream-key <key...>', 'public keys that sign what they have')
    .option('--sign-upstream', "sign what comes from them with the cache's own keys as well")
    .option('--no-sign-upstream', 'leave it with the signatures it came with');
}

/** The limits to be sent. Those of the retention are sent together, and replace those before. @throws `usage` */
export function readLimits(options: RetentionOptions): {
  retention?: RetentionDescription | null;
  quota?: number | null;
  upstreams?: CacheDescription['upstreams'] | null;
  signUpstream?: boolean;
} {
  const { retentionAge, retentionUnused, retentionSize, retentionKeepLast, quota } = options;
  if (options.retention !== undefined && options.retention !== 'none')
    throw usageError(
      `--retention takes 'none'; limits have options of their own, such as --retention-unused 90d`,
    );
  const retention: RetentionDescription = {
    ...(retentionAge === undefined ? {} : { age: parseDuration(retentionAge, '--retention-age') }),
    ...(retentionUnused === undefined
      ? {}
      : { unused: parseDuration(retentionUnused, '--retention-unused') }),
    ...(retentionSize === undefined ? {} : { size: parseBytes(retentionSize, '--retention-size') }),
    ...(retentionKeepLast === undefined ? {} : { keepLast: parseCount(retentionKeepLast) }),
  };
  return {
    ...(Object.keys(retention).length > 0
      ? { retention }
      : options.retention === undefined
        ? {}
        : { retention: null }),
    ...(quota === undefined ? {} : { quota: quota === 'none' ? null : parseBytes(quota, '--quota') }),
    ...readUpstreams(options),
    ...(options.signUpstream === undefined ? {} : { signUpstream: options.signUpstream }),
  };
}

function readUpstreams({ upstream, upstreamKey }: RetentionOptions): {
  upstreams?: CacheDescription['upstreams'] | null;
} {
  if (upstream === undefined && upstreamKey === undefined) return {};
  if (upstream?.join() === 'none') return { upstreams: null };
  if (upstream === undefined || upstreamKey === undefined)
    throw usageError('--upstream URL and --upstream-key NAME:BASE64 go together: nothing unsigned is taken');
  return { upstreams: upstream.map((url) => ({ url, publicKeys: upstreamKey })) };
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw usageError(`--retention-keep-last takes a number from 1, not '${text}'`);
}

/** A line of what a cache keeps, and one of its quota; none where there is no limit. */
export function describeLimits({ retention = {}, quota, upstreams = [] }: CacheDescription): string[] {
  const { age, unused, size, keepLast } = retention;
  const parts = [
    ...(age === undefined ? [] : [`${formatDuration(age)} after the last push`]),
    ...(unused === undefined ? [] : [`when unused for ${formatDuration(unused)}`]),
    ...(size === undefined ? [] : [`beyond ${formatBytes(size)}`]),
    ...(keepLast === undefined ? [] : [`keeping the last ${keepLast} of each pin`]),
  ];
  return [
    ...(parts.length === 0 ? [] : [`paths go ${parts.join(', ')}`]),
    ...(quota === undefined ? [] : [`holds at most ${formatBytes(quota)}`]),
    ...upstreams.map(({ url }) => `asks ${url} for what it does not have`),
  ];
}
