/** What the supervisor and its processes say to each other, besides what prom-client and the rate limiter do. */

export type ToSupervisor =
  | { readonly larder: 'serving'; readonly greeting: string }
  | { readonly larder: 'metrics'; readonly request: number };

export type ToProcess =
  | { readonly larder: 'stop' }
  | { readonly larder: 'metrics'; readonly request: number; readonly text: string };

export function isOurs<T extends ToSupervisor | ToProcess>(message: unknown): message is T {
  return typeof message === 'object' && message !== null && 'larder' in message;
}
