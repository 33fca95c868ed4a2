import { once } from 'node:events';
import { LarderError } from '@larder/signing/errors';
import type { DaemonChannel, DaemonTransport } from './daemon-channel.js';
import { protocolError, WireReader, WireWriter, withoutColours } from './wire.js';

const CLIENT_MAGIC = 0x6e697863;
const DAEMON_MAGIC = 0x6478696f;
/** The newest version spoken here; features of later ones are negotiated by name, and none is asked for. */
const OUR_MINOR = 38;
/** Nix 2.4's: the first with framed uploads of many paths. */
const OLDEST_MINOR = 32;

/** What a daemon sends while it works on a request. */
const MESSAGE = {
  log: 0x6f6c6d67,
  last: 0x616c7473,
  error: 0x63787470,
  startActivity: 0x53545254,
  stopActivity: 0x53544f50,
  result: 0x52534c54,
} as const;

/** Requests, by their number on the wire. */
export const OPERATION = {
  queryReferrers: 6,
  buildPaths: 9,
  addTempRoot: 11,
  addIndirectRoot: 12,
  findRoots: 14,
  setOptions: 19,
  collectGarbage: 20,
  queryAllValidPaths: 23,
  queryPathInfo: 26,
  queryPathFromHashPart: 29,
  queryValidPaths: 31,
  queryValidDerivers: 33,
  buildDerivation: 36,
  addSignatures: 37,
  narFromPath: 38,
  addToStoreNar: 39,
  queryDerivationOutputMap: 41,
} as const;

/** The kind of result that is a line of a build's log. */
const BUILD_LOG_LINE = 101;

export interface RequestOptions {
  /** Called with each line that builds print on the way. */
  readonly onBuildLine?: (line: string) => void;
}

/** Options of a connection that the daemon applies to its builds. */
export interface DaemonOptions {
  /** Called with what the daemon logs, a line at a time. */
  readonly onLog?: (line: string) => void;
}

/**
 * One connection to a Nix daemon: one request at a time. Format: the Nix manual's "Nix Daemon Protocol" and
 * `worker-protocol.hh`, versions 1.32 (Nix 2.4) to 1.38.
 */
export class DaemonConnection {
  readonly reader: WireReader;
  readonly #channel: DaemonChannel;
  readonly #options: DaemonOptions;
  #minor = OUR_MINOR;
  #broken = false;
  #onBuildLine: RequestOptions['onBuildLine'];

  private constructor(channel: DaemonChannel, options: DaemonOptions) {
    this.#channel = channel;
    this.#options = options;
    this.reader = new WireReader(channel.input);
  }

  /**
   * Connects and shakes hands.
   * @throws `daemon-unreachable`, `daemon-too-old`, `daemon-protocol`
   */
  static async open(transport: DaemonTransport, options: DaemonOptions = {}): Promise<DaemonConnection> {
    const connection = new DaemonConnection(await transport.open(), options);
    try {
      await connection.#explaining(() => connection.#shakeHands());
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Whether another request can follow: an exchange that broke off leaves the two sides out of step. */
  get usable(): boolean {
    return !this.#broken && !this.#channel.output.destroyed;
  }

  /** The minor version of the protocol that both sides speak. */
  get minor(): number {
    return this.#minor;
  }

  /** Sends a request and gives the reader placed at its answer. @throws `daemon-refused` with the daemon's message */
  async request(request: WireWriter, { onBuildLine }: RequestOptions = {}): Promise<WireReader> {
    this.#onBuildLine = onBuildLine;
    return this.#guard(async () => {
      await this.#send(request.finish());
      await this.#untilLast();
      return this.reader;
    });
  }

  /** Reads an answer; a failure in the middle makes the connection unusable. */
  async read<Answer>(read: (reader: WireReader) => Promise<Answer>): Promise<Answer> {
    return this.#guard(() => read(this.reader));
  }

  /**
   * Sends a request followed by a framed stream. The daemon may refuse while it is still being sent.
   * @throws `daemon-refused`, and what `payload` throws
   */
  async upload(request: WireWriter, payload: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#guard(async () => {
      await this.#send(request.finish());
      let refused = false;
      const answer = this.#untilLast().catch((error: unknown) => {
        refused = true;
        throw error;
      });
      const sent = this.#sendFrames(payload, () => refused);
      const [answered, done] = await Promise.allSettled([answer, sent]);
      // After a refusal the daemon waits for no more frames: the stream is out of step unless it was whole.
      if (answered.status === 'rejected') {
        this.#broken ||= done.status === 'rejected' || !done.value;
        throw answered.reason;
      }
      if (done.status === 'rejected') throw done.reason;
    });
  }

  close(): void {
    this.#channel.close();
  }

  /** Refusals leave the two sides in step; anything else does not. */
  async #guard<Answer>(exchange: () => Promise<Answer>): Promise<Answer> {
    try {
      return await this.#explaining(exchange);
    } catch (error) {
      if (!(error instanceof LarderError && error.code === 'daemon-refused')) {
        this.#broken = true;
        this.close();
      }
      throw error;
    }
  }

  /** An end of the stream says little by itself: the channel may know why. */
  async #explaining<Answer>(exchange: () => Promise<Answer>): Promise<Answer> {
    try {
      return await exchange();
    } catch (error) {
      const known = error instanceof LarderError && error.code === 'daemon-disconnected';
      throw known ? await this.#channel.explain(error) : error;
    }
  }

  async #shakeHands(): Promise<void> {
    await this.#send(
      new WireWriter()
        .number(CLIENT_MAGIC)
        .number((1 << 8) | OUR_MINOR)
        .finish(),
    );
    if ((await this.reader.number()) !== DAEMON_MAGIC) throw protocolError('its greeting is another');
    const version = await this.reader.number();
    if (version >> 8 !== 1) throw protocolError(`it is of major version ${version >> 8}`);
    if ((version & 0xff) < OLDEST_MINOR) {
      throw new LarderError(
        'daemon-too-old',
        `the Nix daemon speaks version 1.${version & 0xff}; Nix 2.4 or newer is needed`,
      );
    }
    this.#minor = Math.min(version & 0xff, OUR_MINOR);
    if (this.#minor >= 38) {
      await this.#send(new WireWriter().strings([]).finish());
      await this.reader.strings();
    }
    // Two fields without a meaning any more: processor affinity and reserved space.
    await this.#send(new WireWriter().number(0).number(0).finish());
    if (this.#minor >= 33) await this.reader.string();
    if (this.#minor >= 35) await this.reader.number();
    await this.#untilLast();
    await this.request(this.#setOptions());
  }

  /** Leaves everything as the daemon has it: no overrides, and as little log as it can send. */
  #setOptions(): WireWriter {
    const errorsOnly = 0;
    const vomit = 7;
    const writer = new WireWriter().number(OPERATION.setOptions);
    writer.number(false).number(false).number(false).number(errorsOnly).number(1).number(0).number(true);
    return writer.number(vomit).number(0).number(0).number(0).number(true).number(0);
  }

  async #sendFrames(payload: AsyncIterable<Uint8Array>, refused: () => boolean): Promise<boolean> {
    for await (const chunk of payload) {
      if (refused()) return false;
      if (chunk.length === 0) continue;
      this.#channel.output.cork();
      this.#channel.output.write(new WireWriter().number(chunk.length).finish());
      const sent = this.#send(chunk);
      this.#channel.output.uncork();
      await sent;
    }
    await this.#send(new WireWriter().number(0).finish());
    return true;
  }

  /** Waits while the daemon is behind, so that no stream piles up here. */
  async #send(bytes: Uint8Array): Promise<void> {
    const { output } = this.#channel;
    if (output.destroyed)
      throw new LarderError('daemon-disconnected', 'the Nix daemon closed the connection');
    if (output.write(bytes)) return;
    const settled = new AbortController();
    try {
      const { signal } = settled;
      await Promise.race([once(output, 'drain', { signal }), once(output, 'close', { signal })]);
    } catch (error) {
      // A pipe whose reader has gone breaks before it is seen to close.
      throw new LarderError('daemon-disconnected', 'the Nix daemon closed the connection', { cause: error });
    } finally {
      // Takes the other listener away.
      settled.abort();
    }
  }

  async #untilLast(): Promise<void> {
    for (;;) {
      const message = await this.reader.number();
      if (message === MESSAGE.last) return;
      if (message === MESSAGE.error) throw await this.#readError();
      await this.#passMessage(message);
    }
  }

  async #passMessage(message: number): Promise<void> {
    const { reader } = this;
    switch (message) {
      case MESSAGE.log:
        this.#options.onLog?.((await reader.string()).trimEnd());
        return;
      case MESSAGE.startActivity:
        for (let field = 0; field < 3; field++) await reader.skipNumber();
        await reader.string();
        await this.#skipFields();
        await reader.skipNumber();
        return;
      case MESSAGE.stopActivity:
        await reader.skipNumber();
        return;
      case MESSAGE.result:
        await reader.skipNumber();
        await this.#passResult(await reader.number());
        return;
      default:
        throw protocolError(`message 0x${message.toString(16)} is unknown`);
    }
  }

  /** Of all that tells how far things are, only what builds print is of interest. */
  async #passResult(type: number): Promise<void> {
    if (type !== BUILD_LOG_LINE) return this.#skipFields();
    for (let left = await this.reader.number(); left > 0; left--) {
      if ((await this.reader.number()) === 0) await this.reader.skipNumber();
      else this.#onBuildLine?.(await this.reader.string());
    }
  }

  async #skipFields(): Promise<void> {
    for (let left = await this.reader.number(); left > 0; left--) {
      if ((await this.reader.number()) === 0) await this.reader.skipNumber();
      else await this.reader.string();
    }
  }

  async #readError(): Promise<LarderError> {
    const { reader } = this;
    await reader.string(); // Always 'Error'.
    await reader.skipNumber();
    await reader.string();
    const message = await reader.string();
    await reader.skipNumber();
    const traces: string[] = [];
    for (let left = await reader.number(); left > 0; left--) {
      await reader.skipNumber();
      traces.push(await reader.string());
    }
    return new LarderError('daemon-refused', `the Nix daemon: ${withoutColours(message)}`, {
      fields: { message: withoutColours(message), traces: traces.map(withoutColours) },
    });
  }
}
