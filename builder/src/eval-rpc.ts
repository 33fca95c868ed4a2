import { type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { NixError } from './eval/errors.js';
import { toByteText } from './eval/byte-text.js';

/** A call from the evaluating thread, which waits for its answer. */
export interface RemoteCall {
  readonly method: string;
  readonly args: readonly unknown[];
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

  call(method: string, ...args: unknown[]): unknown {
    Atomics.store(this.signal, 0, 0);
    this.port.postMessage({ method, args } satisfies RemoteCall);
    Atomics.wait(this.signal, 0, 0);
    const answer = receiveMessageOnPort(this.port)?.message as RemoteAnswer;
    if ('error' in answer) throw new NixError('other', toByteText(answer.error));
    return answer.value;
  }
}

/** What the main thread does for an evaluation, by method name. */
export type EvaluationServices = Readonly<Record<string, (...args: never[]) => unknown>>;

/** Answers the calls of an evaluating thread until its port closes. */
export function serveCalls(port: Pick<MessagePort, 'on' | 'postMessage'> | Worker, signal: SharedArrayBuffer, services: EvaluationServices): void {
  const flag = new Int32Array(signal);
  const answer = async ({ method, args }: RemoteCall): Promise<void> => {
    let reply: RemoteAnswer;
    try {
      const service = services[method] as ((...args: unknown[]) => unknown) | undefined;
      if (service === undefined) throw new Error(`there is no service '${method}'`);
      reply = { value: await service(...args) };
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) };
    }
    port.postMessage(reply);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  };
  port.on('message', (message: object) => {
    if ('method' in message) void answer(message as RemoteCall);
  });
}
