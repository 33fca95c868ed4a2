import { type LookupAddress, lookup as resolve } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector } from 'undici';
import type { Network } from '../config-units.js';
import { ServerError } from '../errors.js';

/** Networks that are no part of the internet: https://www.iana.org/assignments/iana-ipv4-special-registry/ */
const SPECIAL_IPV4: readonly (readonly [address: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];
/** Of IPv6, what is public: all else is not. Those of NAT64 (which a resolver may make up) and mapped ones stand for IPv4. */
const PUBLIC_IPV6: readonly (readonly [address: string, prefix: number])[] = [
  ['2000::', 3],
  ['64:ff9b::', 96],
  ['::ffff:0:0', 96],
];
/** What of it is not: https://www.iana.org/assignments/iana-ipv6-special-registry/ (protocols, examples, 6to4). */
const SPECIAL_IPV6: readonly (readonly [address: string, prefix: number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

/**
 * Which addresses the server may fetch from when somebody else than its operator says where: all that are public, and those
 * that the operator lists. Whoever may configure a cache must not get at what only the server can reach.
 */
export class ReachableAddresses {
  readonly #allowed = new BlockList();
  readonly #public = new BlockList();
  readonly #special = new BlockList();

  constructor(allowed: readonly Network[] = []) {
    for (const { address, prefix, family } of allowed) this.#allowed.addSubnet(address, prefix, family);
    for (const [address, prefix] of PUBLIC_IPV6) this.#public.addSubnet(address, prefix, 'ipv6');
    for (const [address, prefix] of SPECIAL_IPV6) this.#special.addSubnet(address, prefix, 'ipv6');
    for (const [address, prefix] of SPECIAL_IPV4) {
      this.#special.addSubnet(address, prefix, 'ipv4');
      this.#special.addSubnet(`64:ff9b::${address}`, 96 + prefix, 'ipv6');
    }
  }

  /** @param address an IP address, without brackets */
  has(address: string): boolean {
    const [plain = ''] = address.split('%');
    const version = isIP(plain);
    if (version === 0) return false;
    const family = version === 4 ? 'ipv4' : 'ipv6';
    if (this.#allowed.check(plain, family)) return true;
    if (this.#special.check(plain, family)) return false;
    return version === 4 || this.#public.check(plain, 'ipv6');
  }
}

export interface ReachingOptions {
  /** Milliseconds to connect, to begin an answer, and of silence within one. */
  readonly timeout: number;
  readonly connections?: number;
}

/**
 * An agent that connects to no other addresses. It looks at the very address that is connected to: what a name stood for a
 * moment ago says nothing.
 */
export function createReachingAgent(
  reachable: ReachableAddresses,
  { timeout, connections = 64 }: ReachingOptions,
): Agent {
  // Names are resolved once, and what is refused is never connected to.
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
      if (error !== null) return callback(error, '', 0);
      const fit = found.filter(({ address }) => reachable.has(address));
      const [first] = fit;
      if (first === undefined) return callback(unreachable(hostname, found[0]?.address), '', 0);
      return options.all === true ? callback(null, fit) : callback(null, first.address, first.family);
    });
  };
  const connect = buildConnector({ timeout, lookup });
  return new Agent({
    connect(options, callback) {
      const host = options.hostname.replace(/^\[|\]$/g, '');
      // Addresses are not looked up.
      if (isIP(host) !== 0 && !reachable.has(host)) callback(unreachable(host, host), null);
      else connect(options, callback);
    },
    headersTimeout: timeout,
    bodyTimeout: timeout,
    connections,
  });
}

/** With a code of its own, so that nobody tries it again. */
function unreachable(host: string, address = 'no address'): ServerError {
  const where = host === address ? host : `${host} (${address})`;
  return new ServerError(
    'upstream-failed',
    `${where} is not a public address; if it is meant to be reached, list its network in upstreams.allow_private`,
  );
}
