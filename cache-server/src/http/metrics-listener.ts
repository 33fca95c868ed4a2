import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Services } from './services.js';

export interface MetricsListener {
  close(): Promise<void>;
}

/** Serves `/metrics` to anyone on a port of its own, where `metrics.listen` says so. */
export async function listenForMetrics({
  config,
  metrics,
  logger,
}: Services): Promise<MetricsListener | undefined> {
  const address = config.metrics.listen;
  if (metrics === undefined || address === undefined) return undefined;
  const server = createServer((incoming, outgoing) => {
    if (incoming.url !== '/metrics') {
      outgoing.writeHead(404).end();
      return;
    }
    void metrics.text().then((text) => {
      outgoing.writeHead(200, { 'Content-Type': metrics.registry.contentType }).end(text);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  logger.info({ url: `http://${host}:${port}/metrics` }, 'serving metrics');
  return {
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
