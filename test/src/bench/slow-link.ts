import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface SlowLinkOptions {
  /** Milliseconds there and back. */
  readonly roundTrip: number;
  /** Bits a second, each way, all connections together. */
  readonly rate: number;
}

/** A slow link to a server on this machine; disposing of it cuts its connections. */
export interface SlowLink extends AsyncDisposable {
  readonly url: string;
  /** Bytes that came from the server so far. */
  readonly received: number;
  /** Bytes that went to it. */
  readonly sent: number;
  /** Connections that were made. */
  readonly connections: number;
}

/** Bytes that may wait at the link's entrance for one connection, as in a router's queue and a socket's buffer. */
const queueSize = 256 * 1024;

/**
 * Relays TCP to a port of 127.0.0.1 as a line with a delay and a rate would: each way, all connections share the rate
 * in turn, and every byte arrives half a round trip after it left. A connection's first byte waits a whole round trip
 * longer, for the handshake that a relay cannot delay. There is no loss, and no slow start.
 */
export async function startSlowLink(port: number, options: SlowLinkOptions): Promise<SlowLink> {
  const up = new Line(options);
  const down = new Line(options);
  const sockets = new Set<Socket>();
  let connections = 0;
  // Half open as TCP is: a side that has said all may still listen.
  const server = createServer({ allowHalfOpen: true }, (near) => {
    connections += 1;
    near.setNoDelay(true);
    near.pause();
    sockets.add(near);
    const handshake = setTimeout(() => {
      const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      sockets.add(far);
      up.carry(near, far);
      down.carry(far, near);
    }, options.roundTrip);
    near.once('close', () => {
      clearTimeout(handshake);
      sockets.delete(near);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get received() {
      return down.carried;
    },
    get sent() {
      return up.carried;
    },
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** One direction of the link. */
class Line {
  /** Milliseconds a byte takes to go in. */
  readonly #perByte: number;
  readonly #delay: number;
  readonly #entrance = new Schedule();
  readonly #exit = new Schedule();
  /** When the line has taken all that it was given. */
  #freeAt = 0;
  carried = 0;

  constructor({ roundTrip, rate }: SlowLinkOptions) {
    this.#perByte = 8000 / rate;
    this.#delay = roundTrip / 2;
  }

  /** Carries all that `from` says to `to`, and its end. */
  carry(from: Socket, to: Socket): void {
    let waiting = 0;
    from.on('data', (chunk: Buffer) => {
      waiting += chunk.length;
      if (waiting > queueSize) from.pause();
      this.#freeAt = Math.max(performance.now(), this.#freeAt) + chunk.length * this.#perByte;
      this.#entrance.add(this.#freeAt, () => {
        this.carried += chunk.length;
        waiting -= chunk.length;
        if (waiting <= queueSize) from.resume();
      });
      this.#exit.add(this.#freeAt + this.#delay, () => {
        if (!to.destroyed) to.write(chunk);
      });
    });
    const afterwards = (what: () => void) => (): void => {
      this.#exit.add(Math.max(performance.now(), this.#freeAt) + this.#delay, what);
    };
    from.on(
      'end',
      afterwards(() => to.end()),
    );
    from.on(
      'error',
      afterwards(() => to.destroy()),
    );
    from.on(
      'close',
      afterwards(() => to.end()),
    );
    from.resume();
  }
}

/** Does things at their times, which must not go back: a timer each would mix up those that are close. */
class Schedule {
  #entries: { readonly time: number; readonly what: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  add(time: number, what: () => void): void {
    this.#entries.push({ time, what });
    this.#timer ??= this.#wait();
  }

  #wait(): NodeJS.Timeout {
    return setTimeout(() => this.#run(), Math.max(0, this.#entries[0]!.time - performance.now()));
  }

  #run(): void {
    const now = performance.now();
    const due = this.#entries.findIndex(({ time }) => time > now);
    const ready = this.#entries.splice(0, due < 0 ? this.#entries.length : due);
    for (const { what } of ready) what();
    this.#timer = this.#entries.length === 0 ? undefined : this.#wait();
  }
}
