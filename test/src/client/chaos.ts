import type { ServerResponse } from 'node:http';
import { SeededRandom } from '../closures/random.js';
import type { Exchange, RelayFault } from './faulty-cache.js';

/** One way in which a cache goes wrong; returns whether there was anything to do it to. */
type Mischief = (exchange: Exchange, response: ServerResponse, chaos: Chaos) => boolean;

interface Chaos {
  readonly random: SeededRandom;
  /** Honest answers to requests of the same kind, for other paths. */
  readonly others: readonly Buffer[];
  readonly stale: ReadonlyMap<string, string>;
}

export interface ChaosOptions {
  readonly seed: string;
  /** The part of requests that are answered wrongly, from 0 to 1. */
  readonly rate: number;
  /** Narinfos as they once were, by hash part. */
  readonly stale?: ReadonlyMap<string, string>;
}

/** Goes wrong at random, in every way a server, what is in front of it, or a liar could; `seen` counts the ways. */
export function chaosFault(
  { seed, rate, stale = new Map() }: ChaosOptions,
  seen: Map<string, number> = new Map(),
): RelayFault {
  const random = new SeededRandom(seed);
  const honest = new Map<string, Buffer[]>();
  return (exchange, response) => {
    const others = remember(honest, exchange);
    if (random.fraction() >= rate) return false;
    const [name, mischief] = mischiefs[random.below(mischiefs.length)]!;
    if (!mischief(exchange, response, { random, others, stale })) return false;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return true;
  };
}

/** Notes the answer; gives the other ones of its kind so far. */
function remember(honest: Map<string, Buffer[]>, { request, status, body }: Exchange): readonly Buffer[] {
  const kind = request.url!.replace(/[0-9a-z]{32,}/g, '*');
  const known = honest.get(kind) ?? [];
  const others = known.filter((each) => !each.equals(body));
  if (status === 200 && others.length === known.length) honest.set(kind, [...known, body].slice(-16));
  return others;
}

const mischiefs: readonly (readonly [string, Mischief])[] = [
  [
    'truncates',
    ({ status, headers, body }, response, { random }) => {
      response.writeHead(status, { ...headers, 'content-length': body.length });
      response.write(body.subarray(0, random.below(body.length + 1)), () => response.destroy());
      return true;
    },
  ],
  [
    'sends less and says so',
    (exchange, response, { random }) =>
      send(exchange, response, exchange.body.subarray(0, random.below(exchange.body.length + 1))),
  ],
  [
    'sends more',
    (exchange, response, { random }) =>
      send(exchange, response, Buffer.concat([exchange.body, random.bytes(1 + random.below(2000))])),
  ],
  [
    'flips bits',
    (exchange, response, { random }) => send(exchange, response, flipBits(exchange.body, random)),
  ],
  [
    'sends noise',
    (exchange, response, { random }) => send(exchange, response, random.bytes(exchange.body.length)),
  ],
  [
    'has a portal in front',
    (exchange, response) =>
      send({ ...exchange, status: 200 }, response, Buffer.from('<html>Log in first</html>')),
  ],
  [
    "answers with another path's",
    (exchange, response, { random, others }) => {
      const other = others[random.below(others.length)];
      return other !== undefined && send(exchange, response, other);
    },
  ],
  [
    'lies about the length',
    ({ headers, body, status }, response, { random }) => {
      // Behind others on their connection, or with the client gone.
      if (response.socket === null) return false;
      const length = Math.max(0, body.length + random.below(200) - 100);
      const lines = Object.entries({ ...headers, 'content-length': `${length}` }).map(
        ([name, value]) => `${name}: ${value as string}\r\n`,
      );
      response.socket.end(
        Buffer.concat([Buffer.from(`HTTP/1.1 ${status} OK\r\n${lines.join('')}\r\n`), body]),
      );
      return true;
    },
  ],
  [
    'claims an encoding',
    (exchange, response, { random }) =>
      send(
        {
          ...exchange,
          headers: {
            ...exchange.headers,
            'content-encoding': ['gzip', 'zstd', 'br', 'x-none'][random.below(4)]!,
          },
        },
        response,
        exchange.body,
      ),
  ],
  [
    'stalls',
    ({ status, headers, body }, response, { random }) => {
      response.writeHead(status, { ...headers, 'content-length': body.length + 1 });
      response.write(body.subarray(0, random.below(body.length + 1)));
      return true;
    },
  ],
  ['says nothing', () => true],
  [
    'drops the connection',
    (_, response) => {
      response.destroy();
      return true;
    },
  ],
  [
    'answers with an error',
    (_, response, { random }) => {
      const status = [400, 401, 403, 404, 410, 416, 429, 500, 502, 503, 504, 511][random.below(12)]!;
      response.writeHead(status, { 'content-length': 4 }).end('no!\n');
      return true;
    },
  ],
  [
    'redirects',
    ({ request }, response, { random }) => {
      const location = ['/elsewhere', request.url!, 'http://127.0.0.1:1/', 'http://['][random.below(4)]!;
      response.writeHead(302, { location, 'content-length': 0 }).end();
      return true;
    },
  ],
  [
    'serves a stale narinfo',
    (exchange, response, { stale }) => {
      const text = stale.get(exchange.request.url!.slice(-40).slice(0, 32));
      return text !== undefined && send(exchange, response, Buffer.from(text));
    },
  ],
  [
    'edits narinfos',
    (exchange, response, { random }) => {
      const text = exchange.body.toString('latin1');
      return (
        text.includes('NarHash: ') &&
        send(exchange, response, Buffer.from(editNarInfos(text, random), 'latin1'))
      );
    },
  ],
];

function send({ status, headers }: Exchange, response: ServerResponse, body: Buffer): boolean {
  response.writeHead(status, { ...headers, 'content-length': body.length }).end(body);
  return true;
}

function flipBits(body: Buffer, random: SeededRandom): Buffer {
  const damaged = Buffer.from(body);
  for (let flips = 1 + random.below(8); flips > 0 && damaged.length > 0; flips--)
    damaged[random.below(damaged.length)]! ^= 1 << random.below(8);
  return damaged;
}

/** Lies in one or a few lines: about sizes, hashes, contents or what signs them. */
function editNarInfos(text: string, random: SeededRandom): string {
  const [field, ...values] = edits[random.below(edits.length)]!;
  return text.replace(new RegExp(`^${field}: .*$`, 'gm'), (line) => {
    if (random.fraction() < 0.3) return line;
    const value = values[random.below(values.length)]!;
    return value === 'drop' ? 'Dropped: yes' : `${field}: ${value}`;
  });
}

const zeroHash = `sha256:${'0'.repeat(52)}`;

const edits: readonly (readonly [string, ...string[]])[] = [
  ['NarSize', '1', '0', '-5', '99999999999999', '1e3', 'many', 'drop'],
  ['FileSize', '1', '0', '99999999999999', 'drop'],
  ['NarHash', zeroHash, 'md5:00000000000000000000000000', 'drop'],
  ['FileHash', zeroHash, 'drop'],
  ['Compression', 'none', 'xz', 'gzip', 'br', 'lz4', 'zip', 'drop'],
  ['URL', 'nar/gone.nar.zst', '../../../etc/passwd', 'http://127.0.0.1:1/x', 'file:///etc/passwd', 'drop'],
  ['References', '', 'drop', `${'0'.repeat(32)}-ghost`, '../x'],
  ['StorePath', `/nix/store/${'0'.repeat(32)}-ghost`, '/gnu/store/x', 'drop'],
  ['Sig', 'main-1:AAAA', 'drop', 'nonsense'],
  ['CA', 'drop', `text:${zeroHash}`, `fixed:r:${zeroHash}`],
];
