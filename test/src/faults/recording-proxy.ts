import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { parseCommitRequest } from '@larder/signing/upload';

/** A proxy in front of a server that remembers what the server acknowledged. */
export interface RecordingProxy extends AsyncDisposable {
  readonly url: string;
  /** Hash parts of the paths whose publication was answered with success, by either way to publish. */
  readonly acknowledged: ReadonlySet<string>;
}

/** Starts a proxy to a server on a port of 127.0.0.1. An answer counts once its headers have arrived here. */
export async function startRecordingProxy(port: number): Promise<RecordingProxy> {
  const acknowledged = new Set<string>();
  const server = createServer((incoming, outgoing) => {
    forward({ incoming, outgoing, port, acknowledged }).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    acknowledged,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly port: number;
  readonly acknowledged: Set<string>;
}

async function forward({ incoming, outgoing, port, acknowledged }: Exchange): Promise<void> {
  const { method, url: path = '/', headers } = incoming;
  const upstream = request({ host: '127.0.0.1', port, method, path, headers });
  upstream.once('error', () => outgoing.destroy());
  outgoing.once('close', () => upstream.destroy());
  const isCommit = method === 'POST' && path.endsWith('/commit');
  let committed: readonly string[] = [];
  if (isCommit) {
    const body = await buffer(incoming);
    committed = parseCommitRequest(JSON.parse(body.toString())).paths.map(({ storePath }) => storePath);
    upstream.end(body);
  } else {
    incoming.pipe(upstream);
  }
  upstream.once('response', (answer) => {
    const status = answer.statusCode ?? 500;
    if (status >= 200 && status < 300) {
      for (const storePath of committed) acknowledged.add(storePath.slice(0, 32));
      const narinfo = /\/([0-9a-z]{32})\.narinfo$/.exec(path)?.[1];
      if (method === 'PUT' && narinfo !== undefined) acknowledged.add(narinfo);
    }
    outgoing.writeHead(status, answer.headers);
    answer.once('error', () => outgoing.destroy());
    answer.pipe(outgoing);
  });
}
