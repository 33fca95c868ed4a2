import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { formatCacheInfo } from '@larder/signing/cache-info';
import type { SecretKey } from '@larder/signing/key';
import { formatNarInfo, type NarInfo } from '@larder/signing/narinfo';
import type { StoreDir } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import { type Context, Hono } from 'hono';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import type { FoundPath } from '../source-set.js';
import type { PathSource } from '../store.js';
import { describe, type NarAnswer, NarService } from './nar-service.js';
import type { PathIndex } from './path-index.js';
import type { ProxyDeltas } from './proxy-deltas.js';

export interface ProxyServices {
  readonly storeDir: StoreDir;
  /** Of the proxy among a client's substituters; smaller is asked first. */
  readonly priority: number;
  readonly index: PathIndex;
  readonly nars: NarService;
  readonly deltas?: ProxyDeltas;
  readonly sources: readonly PathSource[];
  /** Sign what was found trustworthy, so that clients need trust this key alone. */
  readonly keys: readonly SecretKey[];
  /** What `GET /_larder/status` tells. */
  readonly status: () => unknown;
  readonly onError: (error: unknown, path: string) => void;
}

type ProxyContext = Context<{ Bindings: HttpBindings }>;

/** Files of a cache that are handed through as they are, from the first that has them. */
const HANDED_THROUGH = [
  '/:file{[0-9a-z]{32}\\.ls}',
  '/log/:file{[0-9a-z]{32}-[^/]+}',
  '/realisations/:file{[^/]+\\.doi}',
  '/build-trace-v2/:drv/:file{[^/]+\\.doi}',
  '/debuginfo/:file{[0-9a-f]+(\\.debug)?}',
];

/** A binary cache, as stock Nix reads one, made of what other caches have. */
export function createProxyApp(services: ProxyServices): Hono<{ Bindings: HttpBindings }> {
  const { storeDir, priority, index, nars } = services;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.get('/nix-cache-info', (context) =>
    context.text(formatCacheInfo({ storeDir: storeDir.path, wantMassQuery: true, priority }), 200, {
      'Content-Type': 'text/x-nix-cache-info',
    }),
  );
  app.get('/:file{[0-9a-z]{32}\\.narinfo}', async (context) => {
    const found = await index.find(context.req.param('file').slice(0, 32));
    if (found === undefined) return notFound(context);
    services.deltas?.note(found);
    return context.text(formatNarInfo(offer(found, services), storeDir), 200, {
      'Content-Type': 'text/x-nix-narinfo',
    });
  });
  app.get('/nar/:file{[0-9a-z]{32}-[0-9a-z]{52}\\.nar(\\.[a-z0-9]+)?}', async (context) => {
    const answer = await nars.open(context.req.param('file'));
    return answer === undefined ? notFound(context) : sendNar(answer, context);
  });
  for (const path of HANDED_THROUGH) app.get(path, (context) => handThrough(services.sources, context));
  app.get('/_larder/status', (context) => context.json(services.status() as object));
  app.notFound(notFound);
  app.onError((error, context) => {
    services.onError(error, context.req.path);
    if (context.env.outgoing.headersSent) {
      // Half an archive must not look like a whole one.
      context.env.outgoing.destroy();
      return RESPONSE_ALREADY_SENT;
    }
    return context.text(`${error.message}\n`, 502);
  });
  return app;
}

function notFound(context: Context): Response {
  return context.text('404\n', 404);
}

/** The narinfo under which the proxy offers a path: its source's, with the proxy's own address for the archive. */
function offer(found: FoundPath, { keys, storeDir }: ProxyServices): NarInfo {
  const { compression, fileSize } = describe(found);
  const info = keys.length === 0 ? found.info : signPathInfo(found.info, keys, storeDir);
  const { fileHash } = info as NarInfo;
  return { ...info, url: `nar/${NarService.nameOf(found)}`, compression, fileHash, fileSize };
}

async function sendNar(answer: NarAnswer, { env, req }: ProxyContext): Promise<Response> {
  const { outgoing } = env;
  const common = { 'Content-Type': 'application/x-nix-nar', 'Cache-Control': 'max-age=31536000, immutable' };
  if ('coming' in answer) {
    const { coming, size } = answer;
    outgoing.writeHead(200, { ...common, ...(size === undefined ? {} : { 'Content-Length': size }) });
    await send(coming, outgoing, req.method);
    return RESPONSE_ALREADY_SENT;
  }
  const { kept } = answer;
  const range = parseRange(req.header('Range'), kept.size);
  const headers = { ...common, 'Accept-Ranges': 'bytes' };
  if (range === undefined) outgoing.writeHead(200, { ...headers, 'Content-Length': kept.size });
  else {
    outgoing.writeHead(206, {
      ...headers,
      'Content-Length': range.end - range.start + 1,
      'Content-Range': `bytes ${range.start}-${range.end}/${kept.size}`,
    });
  }
  await send(kept.open(range), outgoing, req.method);
  return RESPONSE_ALREADY_SENT;
}

async function send(
  bytes: AsyncIterable<Uint8Array>,
  outgoing: HttpBindings['outgoing'],
  method: string,
): Promise<void> {
  const source = Readable.from(bytes, { objectMode: false });
  if (method === 'HEAD') {
    source.destroy();
    outgoing.end();
    return;
  }
  try {
    await pipeline(source, outgoing);
  } catch (error) {
    // A client that went away is its own affair.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

/** `bytes=N-` and `bytes=N-M`, which is what clients resume with; anything else is answered with the whole. */
function parseRange(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? '');
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start <= end ? { start, end } : undefined;
}

async function handThrough(sources: readonly PathSource[], context: ProxyContext): Promise<Response> {
  const name = decodeURIComponent(context.req.path.slice(1));
  for (const source of sources) {
    if (!(source instanceof BinaryCache)) continue;
    const file = await source.files.read(name).catch(() => undefined);
    if (file !== undefined) return context.body(new Uint8Array(file));
  }
  return notFound(context);
}
