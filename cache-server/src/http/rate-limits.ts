import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { RateLimiterCluster, RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { ServerConfig } from '../config.js';
import { ServerError } from '../errors.js';
import { isSupervised } from '../processes/supervised.js';

/** How often each address, and each token, may ask. All processes of a server count together: a replica more is a limit more. */
export interface RateLimits {
  /** Counts a request of this address. @throws `too-many-requests` */
  address(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void>;
  /** Counts a request with this token. @throws `too-many-requests` */
  token(key: string, outgoing: ServerResponse): Promise<void>;
}

type Limiter = RateLimiterMemory | RateLimiterCluster;

/** How long the supervisor may take to count a request, in milliseconds. */
const PATIENCE = 5000;

/** @returns `undefined` where nothing is limited */
export function createRateLimits({ rate_limits: limits }: ServerConfig): RateLimits | undefined {
  if (limits.per_address === 0 && limits.per_token === 0) return undefined;
  const duration = limits.window / 1000;
  const limiter = (name: string, points: number): Limiter | undefined => {
    if (points === 0) return undefined;
    if (!isSupervised()) return new RateLimiterMemory({ points, duration });
    return new RateLimiterCluster({ keyPrefix: name, points, duration, timeoutMs: PATIENCE });
  };
  const byAddress = limiter('address', limits.per_address);
  const byToken = limiter('token', limits.per_token);
  return {
    async address(incoming, outgoing) {
      if (byAddress !== undefined)
        await consume(byAddress, { key: addressOf(incoming, limits.trust_forwarded_for), outgoing });
    },
    async token(key, outgoing) {
      if (byToken !== undefined) await consume(byToken, { key, outgoing });
    },
  };
}

async function consume(
  limiter: Limiter,
  { key, outgoing }: { readonly key: string; readonly outgoing: ServerResponse },
): Promise<void> {
  try {
    describe(await limiter.consume(key), { limiter, outgoing });
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error;
    const seconds = describe(error, { limiter, outgoing });
    throw new ServerError(
      'too-many-requests',
      `there were too many requests; the next is taken in ${seconds} s`,
      {
        fields: { retryAfter: seconds },
      },
    );
  }
}

/** https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ in its widely used form */
function describe(
  { remainingPoints, msBeforeNext }: RateLimiterRes,
  { limiter, outgoing }: { readonly limiter: Limiter; readonly outgoing: ServerResponse },
): number {
  const seconds = Math.max(1, Math.ceil(msBeforeNext / 1000));
  outgoing.setHeader('RateLimit-Limit', limiter.points);
  outgoing.setHeader('RateLimit-Remaining', Math.max(0, remainingPoints));
  outgoing.setHeader('RateLimit-Reset', seconds);
  return seconds;
}

/**
 * Whom to count. Of `X-Forwarded-For` only the last entry counts, which our own proxy wrote: all before it is the client's say.
 * A customer's IPv6 network is one, not 2^64.
 */
export function addressOf(incoming: IncomingMessage, trustForwarded: boolean): string {
  const forwarded = trustForwarded ? incoming.headers['x-forwarded-for'] : undefined;
  const last = (Array.isArray(forwarded) ? forwarded.join() : forwarded)?.split(',').at(-1)?.trim();
  const address = last || incoming.socket.remoteAddress || '';
  return isIPv6(address) && !address.startsWith('::ffff:')
    ? address.split(':').slice(0, 4).join(':')
    : address;
}
