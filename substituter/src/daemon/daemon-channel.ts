import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { LarderError } from '@larder/signing/errors';
import { shortSocketPath } from '../local-store/socket-path.js';

/** Two streams of bytes with a Nix daemon at their other end. */
export interface DaemonChannel {
  readonly input: AsyncIterable<Uint8Array>;
  readonly output: Writable;
  /** Why the other end has gone, where more is known of it than `error`, which the connection met. */
  explain(error: LarderError): Promise<LarderError>;
  close(): void;
}

/** A way to a daemon. */
export interface DaemonTransport {
  /** @throws `daemon-unreachable` */
  open(): Promise<DaemonChannel>;
}

/** The daemon of this machine, at its Unix socket. */
export class SocketTransport implements DaemonTransport {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async open(): Promise<DaemonChannel> {
    let socket: Socket;
    try {
      using address = shortSocketPath(this.#path);
      socket = connect(address.path);
      await once(socket, 'connect');
    } catch (error) {
      throw new LarderError(
        'daemon-unreachable',
        `the Nix daemon does not answer at ${this.#path}; start it, or use the store directly with 'local'`,
        { cause: error, fields: { socket: this.#path } },
      );
    }
    // Errors surface where the socket is read or written.
    socket.on('error', () => {});
    return {
      input: socket as AsyncIterable<Buffer>,
      output: socket,
      explain: async (error) => error,
      close: () => socket.destroy(),
    };
  }
}
