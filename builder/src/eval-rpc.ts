import { type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { toByteText } from './eval/byte-text.js';
import { NixError } from './eval/errors.js';

/** A call from the evaluating thread, which waits for its answer. */
export interface RemoteCall {
  readonly method: string;
  readonly args: readonly unknown[];
  /** Nobody waits for the answer. */
  readonly silent?: boolean;
}

/** The answer to a call. */
export type RemoteAnswer = { readonly value: unknown } | { readonly error: string };

/** Calls services of the main thread from the evaluating one, which sleeps until the answer is there. */
export class RemoteServices {
  private readonly port: MessagePort;
  private readonly signal: Int32Array;

  constructor(port: MessagePort, signal: SharedArrayBuffer) {
    this.port = port;
    this.signal = new Int32Array(signal);
  }

  /** Asks for something whose outcome is not waited for; an error in it comes with the next `call` of `flush`. */
  post(method: string, ...args: unknown[]): void {
    this.port.postMessage({ method, args, silent: true } satisfies RemoteCall);
  }

  call(method: string, ...args: unknown[]): unknown {
    Atomics.store(this.signal, 0, 0);
    this.port.postMessage({ method, args } satisfies RemoteCall);
    Atomics.wait(this.signal, 0, 0);
    const answer = receiveMessageOnPort(this.port)?.message as RemoteAnswer;
    if ('error' in answer) throw new NixError('other', toByteText(answer.error));
    return answer.value;
  }
}

/** What the main thread does for an evaluation: an object whose methods are called by name. */
export type RemoteMethods = object;

/** Answers the calls of an evaluating thread until its port closes. */
export function serveCalls(
  port: Pick<MessagePort, 'on' | 'postMessage'> | Worker,
  signal: SharedArrayBuffer,
  services: () => Promise<RemoteMethods>,
): void {
  const flag = new Int32Array(signal);
  const answer = async ({ method, args, silent = false }: RemoteCall): Promise<void> => {
    let reply: RemoteAnswer;
    try {
      const object = await services();
      const service: unknown = Reflect.get(object, method);
      if (typeof service !== 'function') throw new Error(`there is no service '${method}'`);
      reply = { value: await (service as (...args: unknown[]) => unknown).apply(object, [...args]) };
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) };
    }
    if (silent) return;
    port.postMessage(reply);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  };
  port.on('message', (message: object) => {
    if ('method' in message) void answer(message as RemoteCall);
  });
}
