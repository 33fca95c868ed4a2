import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { type SocketPath, shortSocketPath } from '@larder/substituter/local-store/socket-path';

/**
 * Takes roots from other processes while a collection runs, in Nix's protocol: a path a line, answered by the
 * byte `1` once the path is spared (or gone for good).
 */
export class RootsServer {
  readonly #server: Server;
  readonly #path: string;
  readonly #clients = new Set<Socket>();

  readonly #address: SocketPath;

  private constructor(server: Server, path: string, address: SocketPath) {
    this.#server = server;
    this.#path = path;
    this.#address = address;
  }

  /** Listens on `gc-socket/socket`; the caller holds the collector's lock, so nobody else does. */
  static async start(stateDir: string, onRoot: (fullPath: string) => Promise<void>): Promise<RootsServer> {
    const path = `${stateDir}/gc-socket/socket`;
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    const server = createServer();
    const address = shortSocketPath(path);
    const started = new RootsServer(server, path, address);
    server.on('connection', (socket) => started.#serve(socket, onRoot));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address.path, resolve);
    });
    try {
      chmodSync(path, 0o666);
    } catch (error) {
      await started.close();
      throw error;
    }
    return started;
  }

  async close(): Promise<void> {
    rmSync(this.#path, { force: true });
    for (const client of this.#clients) client.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#address[Symbol.dispose]();
  }

  #serve(socket: Socket, onRoot: (fullPath: string) => Promise<void>): void {
    this.#clients.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#clients.delete(socket));
    let answered: Promise<unknown> = Promise.resolve();
    createInterface({ input: socket }).on('line', (line) => {
      answered = answered
        .then(() => onRoot(line))
        .then(
          () => socket.write('1'),
          () => socket.destroy(),
        );
    });
  }
}
