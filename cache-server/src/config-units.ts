import { isIP } from 'node:net';
import { z } from 'zod';

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function quantity(units: Readonly<Record<string, number>>, example: string): z.ZodType<number, string> {
  const known = Object.keys(units).join(', ');
  const message = `must be a number with a unit (${known}), such as "${example}"`;
  return z.string({ error: message }).transform((text, context) => {
    const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(text.trim());
    const unit = units[match?.[2] ?? ''];
    if (match !== null && unit !== undefined) return Math.round(Number(match[1]) * unit);
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** `"64 KiB"`, in bytes. */
export const byteSize = quantity(SIZE_UNITS, '64 MiB');

/** `"30 s"`, in milliseconds. */
export const duration = quantity(TIME_UNITS, '30 s');

/** `host:port`, where an IPv6 host stands in brackets; port 0 takes a free one. */
export const listenAddress = z
  .string({ error: 'must be "host:port", such as "127.0.0.1:8080"' })
  .transform((text, context) => {
    const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(text);
    const port = Number(match?.[2]);
    if (match !== null && port < 65_536) return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port };
    context.addIssue({ code: 'custom', message: 'must be "host:port", such as "127.0.0.1:8080"' });
    return z.NEVER;
  });

export type ListenAddress = z.output<typeof listenAddress>;

/** `10.0.0.0/8`, or one address. */
export const network = z
  .string({ error: 'must be a network, such as "10.0.0.0/8"' })
  .transform((text, context) => {
    const [, address = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
    const version = isIP(address);
    const most = version === 4 ? 32 : 128;
    const prefix = Number(bits ?? most);
    if (version !== 0 && prefix <= most)
      return { address, prefix, family: version === 4 ? ('ipv4' as const) : ('ipv6' as const) };
    context.addIssue({ code: 'custom', message: 'must be a network, such as "10.0.0.0/8", or an address' });
    return z.NEVER;
  });

export type Network = z.output<typeof network>;
