import type { FC } from 'hono/jsx';

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people: three digits that matter. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < SIZES.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${SIZES[unit]}`;
}

/** `12,345`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en');
}

/** `1 path`, `12 paths`. */
export function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

const SPANS: readonly (readonly [seconds: number, name: string])[] = [
  [31_557_600, 'year'],
  [2_629_800, 'month'],
  [604_800, 'week'],
  [86_400, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
];

/** How long ago, or how long until, in the largest unit that fits. */
export function formatAge(time: number, now: number = Date.now()): string {
  const seconds = Math.abs(now - time) / 1000;
  const [span, name] = SPANS.find(([each]) => seconds >= each) ?? [];
  if (span === undefined || name === undefined) return time > now ? 'in a moment' : 'just now';
  const amount = Math.floor(seconds / span);
  const text = `${amount} ${name}${amount === 1 ? '' : 's'}`;
  return time > now ? `in ${text}` : `${text} ago`;
}

/** A time relative to now, the exact one in its title. */
export const Ago: FC<{ time: number }> = ({ time }) => {
  const exact = new Date(time).toISOString();
  return (
    <time datetime={exact} title={`${exact.slice(0, 19).replace('T', ' ')} UTC`}>
      {formatAge(time)}
    </time>
  );
};

/** A size, its exact number of bytes in its title. */
export const Size: FC<{ bytes: number }> = ({ bytes }) => (
  <span title={`${formatCount(bytes)} bytes`}>{formatSize(bytes)}</span>
);

/** How much of a whole. */
export const Bar: FC<{ part: number; whole: number }> = ({ part, whole }) => (
  <svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect width="100" height="8" rx="2" />
    <rect width={whole === 0 ? 0 : Math.max(0.5, (100 * part) / whole).toFixed(1)} height="8" rx="2" />
  </svg>
);
