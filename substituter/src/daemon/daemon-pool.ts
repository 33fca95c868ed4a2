import type { DaemonTransport } from './daemon-channel.js';
import { DaemonConnection, type DaemonOptions } from './daemon-connection.js';

/** Keeps connections to one daemon, a bounded number, each lent to one request at a time. */
export class DaemonPool {
  readonly #transport: DaemonTransport;
  readonly #limit: number;
  readonly #options: DaemonOptions;
  readonly #idle: DaemonConnection[] = [];
  readonly #waiting: (() => void)[] = [];
  #lent = 0;

  constructor(
    transport: DaemonTransport,
    { connections, ...options }: DaemonOptions & { readonly connections: number },
  ) {
    this.#transport = transport;
    this.#limit = connections;
    this.#options = options;
  }

  /** Runs `task` with a connection of its own, waiting for one when all are lent. */
  async use<Result>(task: (connection: DaemonConnection) => Promise<Result>): Promise<Result> {
    const connection = await this.lend();
    try {
      return await task(connection);
    } finally {
      this.giveBack(connection);
    }
  }

  async lend(): Promise<DaemonConnection> {
    while (this.#lent >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#lent++;
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop())
      if (idle.usable) return idle;
    try {
      return await DaemonConnection.open(this.#transport, this.#options);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  giveBack(connection: DaemonConnection): void {
    if (connection.usable) this.#idle.push(connection);
    else connection.close();
    this.#release();
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close();
  }

  #release(): void {
    this.#lent--;
    this.#waiting.shift()?.();
  }
}
