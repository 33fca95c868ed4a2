import { parseStorePath, type StorePath } from '@larder/signing/store-path';
import { z } from 'zod';

/** What a pin stood for, from when on. */
export interface PinRevision {
  readonly revision: number;
  readonly paths: readonly StorePath[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly createdBy?: string;
}

/** A pin with its history, newest first: what the bucket has of it, so that the database can be rebuilt. */
export interface PinHistory {
  readonly name: string;
  readonly keepLast?: number;
  /** Milliseconds. */
  readonly keepFor?: number;
  readonly createdAt: number;
  readonly revisions: readonly PinRevision[];
}

const schema = z.object({
  version: z.literal(1),
  name: z.string(),
  keepLast: z.int().optional(),
  keepFor: z.number().optional(),
  createdAt: z.number(),
  revisions: z.array(
    z.object({
      revision: z.int(),
      paths: z.array(z.string()),
      createdAt: z.number(),
      createdBy: z.string().optional(),
    }),
  ),
});

/** Writes `larder-pins/<name>.json`. */
export function formatPinFile(pin: PinHistory): string {
  return `${JSON.stringify({ version: 1, ...pin }, undefined, 2)}\n`;
}

/** Reads it; `undefined` for anything but what `formatPinFile` writes. */
export function parsePinFile(text: string): PinHistory | undefined {
  try {
    const { version: _, ...pin } = schema.parse(JSON.parse(text));
    return {
      ...pin,
      revisions: pin.revisions.map((each) => ({ ...each, paths: each.paths.map(parseStorePath) })),
    };
  } catch {
    return undefined;
  }
}
