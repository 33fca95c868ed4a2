import cluster from 'node:cluster';
import { isOurs, type Measures, type ToProcess, type ToSupervisor } from './messages.js';

/** Whether this is one of several processes of a server, under a supervisor. */
export function isSupervised(): boolean {
  return cluster.isWorker;
}

/** Tells the supervisor that requests are taken. */
export function announce(greeting: string): void {
  tell({ larder: 'serving', greeting });
}

/** Resolves when the supervisor wants the process to end. */
export function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    process.on('message', (message: unknown) => {
      if (isOurs<ToProcess>(message) && message.larder === 'stop') resolve();
    });
  });
}

/** Lets go of the supervisor, so that the process can end. */
export function leave(): void {
  cluster.worker?.disconnect();
}

/** Tells the supervisor what this process measured, whenever it asks. */
export function shareMeasures(read: () => Promise<Measures>): void {
  process.on('message', (message: unknown) => {
    if (!isOurs<ToProcess>(message) || message.larder !== 'measure') return;
    const { request } = message;
    void read().then((measures) => tell({ larder: 'measures', request, measures }));
  });
}

let requests = 0;

/** The metrics of all processes together. */
export function askForMetrics(): Promise<string> {
  const request = ++requests;
  return new Promise((resolve) => {
    const hear = (message: unknown): void => {
      if (!isOurs<ToProcess>(message) || message.larder !== 'metrics' || message.request !== request) return;
      process.off('message', hear);
      resolve(message.text);
    };
    process.on('message', hear);
    tell({ larder: 'metrics', request });
  });
}

function tell(message: ToSupervisor): void {
  process.send?.(message);
}
