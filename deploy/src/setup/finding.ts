/** One thing that was looked at. */
export interface Finding {
  /** `failed`: nothing is fetched as it is; `warning`: works, but not as one would want; `ok`. */
  readonly level: 'ok' | 'warning' | 'failed';
  /** A word for programs: `reachable`, `key`, `netrc`, … */
  readonly check: string;
  readonly text: string;
  /** What to do. */
  readonly remedy?: string;
}

export function ok(check: string, text: string): Finding {
  return { level: 'ok', check, text };
}

export function warning(check: string, text: string, remedy: string): Finding {
  return { level: 'warning', check, text, remedy };
}

export function failed(check: string, text: string, remedy: string): Finding {
  return { level: 'failed', check, text, remedy };
}
