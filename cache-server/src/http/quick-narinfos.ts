import type { IncomingMessage, ServerResponse } from 'node:http';
import { NIX32, templateOf } from './path-parameters.js';
import { NARINFO_PATH, sendNarInfo } from './read-routes.js';
import type { Account } from './request-account.js';
import { newRecord } from './request-record.js';
import type { Services } from './services.js';

/** Answers a request, if it can do so at once. */
export type QuickAnswer = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

const URL_PATTERN = new RegExp(`^/([^/?%]+)/(${NIX32}{32})\\.narinfo$`);
const ROUTE = { template: templateOf(NARINFO_PATH), isLookup: true };

/**
 * Narinfos of public caches that are in memory, which is what a cache is asked for most: answered before routes are looked
 * at, without a promise. Nobody needs a token for these, and they are logged and measured like all others. Whatever is not
 * as simple goes its usual way.
 */
export function quickNarInfos(
  { config, caches, narInfos, pathUse }: Services,
  account: Account,
): QuickAnswer {
  const { per_address: perAddress, per_token: perToken } = config.rate_limits;
  if (perAddress > 0 || perToken > 0) return () => false;
  return (incoming, outgoing) => {
    if (incoming.method !== 'GET') return false;
    const [, name, hashPart] = URL_PATTERN.exec(incoming.url ?? '') ?? [];
    if (name === undefined || hashPart === undefined) return false;
    const cache = caches.peek(name);
    if (cache?.public !== true) return false;
    const narInfo = narInfos.peek(cache.id, hashPart);
    if (narInfo === undefined) return false;
    const record = newRecord(incoming);
    record.cache = name;
    record.admitted = name;
    record.route = ROUTE;
    pathUse.note(cache.id, hashPart);
    sendNarInfo(narInfo, { incoming, outgoing, cache, requestId: record.id });
    // Earlier answers on this connection come first: until then it has no part in the connection's bytes.
    if (outgoing.socket === null) outgoing.once('close', () => account({ incoming, outgoing, record }));
    else account({ incoming, outgoing, record });
    return true;
  };
}
