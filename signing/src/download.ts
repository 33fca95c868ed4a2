/**
 * The wire types of Larder's own download API, shared by the server that answers and the client that asks: what stock
 * Nix needs a request a path for, in one.
 *
 *   `POST closureUrl`   these paths' narinfos, and those of all they refer to
 *   `POST narInfosUrl`  these paths' narinfos
 *   `POST deltasUrl`    of which archives are there deltas to what the client has?
 *   `POST archivesUrl`  many small archives, or deltas of them, in one answer (archive-frames)
 *
 * A server that speaks it says so with the header {@link API_HEADER} of its `nix-cache-info`.
 */
import { LarderError } from './errors.js';
import { isHashPart } from './store-path.js';
import {
  asArray,
  asObject,
  asSize,
  asString,
  batch,
  describeUrl,
  isAbsent,
  malformed,
  strings,
} from './upload.js';

/** Header of `nix-cache-info`; its value is a number that grows with what the API can do. */
export const API_HEADER = 'larder-api';

/** Characters of a hash part by which a client tells what it has: 40 bits, two thirds less to send. */
export const HAVE_LENGTH = 8;

/** Paths a client may say it has. */
export const MAX_HAVE = 100_000;

/** `POST …/closure` and `POST …/narinfos`. */
export interface NarInfosRequest {
  /** Of the paths asked for. */
  readonly hashParts: readonly string[];
  /**
   * For a closure: the first {@link HAVE_LENGTH} characters of the hash part of each path that the client has with all
   * it refers to. What is met on the way and looks like one is not sent and not looked behind. A client finds out about
   * one that only looked like it, and asks for it by itself.
   */
  readonly have: ReadonlySet<string>;
}

/** `POST` a {@link NarInfosRequest} here for whole closures. */
export function closureUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/closure`;
}

/** `POST` a {@link NarInfosRequest} here for just these narinfos. */
export function narInfosUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/narinfos`;
}

/** Writes a request; what the client has goes as one text, since nothing else is as short. */
export function formatNarInfosRequest({ hashParts, have }: NarInfosRequest): string {
  return JSON.stringify({ hashParts, ...(have.size === 0 ? {} : { have: [...have].join('') }) });
}

/** @throws LarderError `upload-malformed` naming the field */
export function parseNarInfosRequest(value: unknown): NarInfosRequest {
  const body = asObject(value, 'the request');
  const hashParts = batch(strings(body.hashParts, 'hashParts'), 'hashParts');
  const wrong = hashParts.findIndex((part) => !isHashPart(part));
  if (wrong >= 0) throw malformed(`hashParts[${wrong}]`, 'the 32 characters of a store path');
  const text = isAbsent(body.have) ? '' : asString(body.have, 'have');
  if (text.length % HAVE_LENGTH !== 0 || text.length > MAX_HAVE * HAVE_LENGTH)
    throw malformed('have', `at most ${MAX_HAVE} times ${HAVE_LENGTH} characters`);
  const have = new Set<string>();
  for (let at = 0; at < text.length; at += HAVE_LENGTH) have.add(text.slice(at, at + HAVE_LENGTH));
  return { hashParts, have };
}

/** MIME type of the answer: narinfos, each followed by an empty line, and a last line that says how many there were. */
export const NARINFOS_TYPE = 'text/x-nix-narinfos';

/** What follows the last narinfo: an answer without it broke off. */
export function formatNarInfosEnd(count: number): string {
  return `END ${count}\n`;
}

/**
 * Reads an answer, a narinfo's text at a time.
 * @throws `narinfo-malformed` when it does not end as it should
 */
export async function* parseNarInfos(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  let count = 0;
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    let at = 0;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n', at)) {
      yield rest.slice(at, end + 1);
      count++;
      at = end + 2;
    }
    rest = rest.slice(at);
  }
  if (rest === formatNarInfosEnd(count)) return;
  throw new LarderError('narinfo-malformed', 'the list of narinfos broke off, or is none');
}

/** An archive the client wants, and those that it could apply a delta to, the likeliest first. Hashes are nix32 without a prefix. */
export interface WantedDelta {
  readonly narHash: string;
  readonly bases: readonly string[];
}

/** `POST …/deltas`. */
export interface DeltasRequest {
  readonly wanted: readonly WantedDelta[];
}

/**
 * A delta that the client may have. Without `size` it is being made: whoever asks for it waits, or gets the archive if it
 * takes too long or comes to nothing. Whoever would rather not wait asks again when it should be there.
 */
export interface DeltaOffer {
  readonly narHash: string;
  readonly base: string;
  readonly size?: number;
  /** Until one that is being made is there, roughly. */
  readonly seconds?: number;
}

export interface DeltasResponse {
  readonly offers: readonly DeltaOffer[];
}

/** Bases a client may name for one archive. */
export const MAX_DELTA_BASES = 8;

/** An archive to send; with `base`, its delta to that will do. */
export interface ArchiveRequest {
  readonly narHash: string;
  readonly base?: string;
}

/** Bytes of a NAR, unpacked, above which it is asked for by itself and does not come with others. */
export const MAX_SMALL_NAR = 4 * 1024 * 1024;

/** Archives in one `POST …/archives`. */
export const MAX_ARCHIVES = 1000;

export function deltasUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/deltas`;
}

export function archivesUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/archives`;
}

/** Where a delta is, below a cache's root: on a Larder server, a static host or a bare bucket. */
export function deltaPath(base: string, narHash: string): string {
  return `delta/${base}/${narHash}.zst`;
}

/** Answer to a `PUT` of {@link deltaPath}: whether the delta is kept, and offered from now on. */
export interface StoredDelta {
  readonly kept: boolean;
}

/** @throws `upload-malformed` */
export function parseStoredDelta(value: unknown): boolean {
  return asObject(value, 'the answer').kept === true;
}

/** @throws `upload-malformed` */
export function parseDeltasRequest(value: unknown): DeltasRequest {
  const wanted = batch(asArray(asObject(value, 'the request').wanted, 'wanted'), 'wanted');
  return {
    wanted: wanted.map((each, index) => {
      const at = `wanted[${index}]`;
      const { narHash, bases } = asObject(each, at);
      const named = strings(bases, `${at}.bases`);
      if (named.length > MAX_DELTA_BASES) throw malformed(`${at}.bases`, `at most ${MAX_DELTA_BASES} long`);
      return {
        narHash: narHashText(narHash, `${at}.narHash`),
        bases: named.map((base, number) => narHashText(base, `${at}.bases[${number}]`)),
      };
    }),
  };
}

/** @throws `upload-malformed` */
export function parseDeltasResponse(value: unknown): DeltasResponse {
  const offers = asArray(asObject(value, 'the answer').offers, 'offers');
  return {
    offers: offers.map((each, index) => {
      const at = `offers[${index}]`;
      const offer = asObject(each, at);
      return {
        narHash: narHashText(offer.narHash, `${at}.narHash`),
        base: narHashText(offer.base, `${at}.base`),
        ...(isAbsent(offer.size) ? {} : { size: asSize(offer.size, `${at}.size`) }),
        ...(isAbsent(offer.seconds) ? {} : { seconds: asSeconds(offer.seconds, `${at}.seconds`) }),
      };
    }),
  };
}

/** @throws `upload-malformed` */
export function parseArchivesRequest(value: unknown): readonly ArchiveRequest[] {
  const archives = asArray(asObject(value, 'the request').archives, 'archives');
  if (archives.length > MAX_ARCHIVES) throw malformed('archives', `at most ${MAX_ARCHIVES} long`);
  return archives.map((each, index) => {
    const at = `archives[${index}]`;
    const { narHash, base } = asObject(each, at);
    return {
      narHash: narHashText(narHash, `${at}.narHash`),
      ...(isAbsent(base) ? {} : { base: narHashText(base, `${at}.base`) }),
    };
  });
}

function asSeconds(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw malformed(field, 'a number of seconds');
}

function narHashText(value: unknown, field: string): string {
  const text = asString(value, field);
  if (!/^[0-9abcdfghijklmnpqrsvwxyz]{52}$/.test(text)) throw malformed(field, 'a SHA-256 in nix32');
  return text;
}
