import { usageError } from './command.js';

const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];

/** A number of bytes for people: `1.5 MB`, in powers of 1000. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let power = 0;
  while (value >= 999.5 && power < prefixes.length - 1) {
    value /= 1000;
    power++;
  }
  const digits = power === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${prefixes[power]}B`;
}

/** Seconds for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const DAY = 86_400;
const SECONDS: Readonly<Record<string, number>> = {
  m: 60,
  h: 3600,
  d: DAY,
  w: 7 * DAY,
  y: 365 * DAY,
};

/**
 * A time as people give it, `12h`, `90d`, `2w` or `1y`, in seconds.
 * @throws `usage` naming the option
 */
export function parseDuration(text: string, option: string): number {
  const [, count, letter = ''] = /^(\d{1,6}) ?([mhdwy])$/.exec(text) ?? [];
  const unit = SECONDS[letter];
  if (count === undefined || unit === undefined)
    throw usageError(`${option} takes 30m, 12h, 90d, 2w or 1y, not '${text}'`);
  return Number(count) * unit;
}

const BYTES = ['', 'K', 'M', 'G', 'T', 'P'];

/**
 * A size as people give it, `500 GB` or `1.5TiB`, in bytes.
 * @throws `usage` naming the option
 */
export function parseBytes(text: string, option: string): number {
  const [, value, prefix = '', binary] = /^(\d+(?:\.\d+)?) ?([KMGTP]?)(i?)B?$/i.exec(text) ?? [];
  const power = BYTES.indexOf(prefix.toUpperCase());
  if (value === undefined) throw usageError(`${option} takes 500GB or 2TiB, not '${text}'`);
  return Math.round(Number(value) * (binary === '' ? 1000 : 1024) ** power);
}
