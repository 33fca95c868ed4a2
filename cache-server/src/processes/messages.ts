import type { MetricObjectWithValues, MetricValue } from 'prom-client';

/** What the supervisor and its processes say to each other, besides what the rate limiter does. */

/** All metrics of a process. */
export type Measures = MetricObjectWithValues<MetricValue<string>>[];

export type ToSupervisor =
  | { readonly larder: 'serving'; readonly greeting: string }
  | { readonly larder: 'metrics'; readonly request: number }
  | { readonly larder: 'measures'; readonly request: number; readonly measures: Measures };

export type ToProcess =
  | { readonly larder: 'stop' }
  | { readonly larder: 'measure'; readonly request: number }
  | { readonly larder: 'metrics'; readonly request: number; readonly text: string };

export function isOurs<T extends ToSupervisor | ToProcess>(message: unknown): message is T {
  return typeof message === 'object' && message !== null && 'larder' in message;
}
