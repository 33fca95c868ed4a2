import { type ErrorFields, LarderError } from './errors.js';

/** What a pool says to its worker. `id` tells the jobs apart that share the worker. */
export type ToWorker =
  | { readonly type: 'start'; readonly id: number; readonly name: string; readonly params: unknown }
  | { readonly type: 'input'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'input-end'; readonly id: number; readonly bytes: Uint8Array | undefined }
  | { readonly type: 'input-failed'; readonly id: number; readonly error: ErrorImage }
  | { readonly type: 'output-taken'; readonly id: number; readonly size: number }
  | { readonly type: 'abort'; readonly id: number };

/** What a worker says to its pool. */
export type FromWorker =
  | { readonly type: 'input-taken'; readonly id: number; readonly size: number; readonly spare: ArrayBuffer }
  | { readonly type: 'progress'; readonly id: number; readonly amount: number }
  | { readonly type: 'output'; readonly id: number; readonly bytes: Uint8Array }
  | {
      readonly type: 'done';
      readonly id: number;
      readonly result: unknown;
      /** The last of the output. */
      readonly bytes: Uint8Array | undefined;
    }
  | { readonly type: 'failed'; readonly id: number; readonly error: ErrorImage };

/** An error as it crosses threads: structured cloning would lose its class, code and fields. */
export interface ErrorImage {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly larder: boolean;
  readonly code: unknown;
  readonly fields: ErrorFields | undefined;
  /** Of a system error. */
  readonly system: { readonly errno: unknown; readonly syscall: unknown; readonly path: unknown } | undefined;
  readonly cause: ErrorImage | undefined;
}

/** Makes an image of whatever was thrown. */
export function imageError(error: unknown): ErrorImage {
  const known = error instanceof Error ? error : new Error(String(error));
  const { code, errno, syscall, path } = known as NodeJS.ErrnoException;
  const larder = known instanceof LarderError;
  return {
    name: known.name,
    message: known.message,
    stack: known.stack,
    larder,
    code,
    fields: larder ? printable(known.fields) : undefined,
    system: syscall === undefined ? undefined : { errno, syscall, path },
    cause: known.cause === undefined ? undefined : imageError(known.cause),
  };
}

/** Fields that can be cloned as they are, the others as text. */
function printable(fields: ErrorFields): ErrorFields {
  try {
    return structuredClone(fields);
  } catch {
    return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value)]));
  }
}

/** The error of an image: of LarderError's class if it was one, with its code and fields. */
export function restoreError(image: ErrorImage): Error {
  const cause = image.cause === undefined ? undefined : restoreError(image.cause);
  const error = image.larder
    ? new LarderError(String(image.code), image.message, { cause, fields: image.fields })
    : new Error(image.message, { cause });
  error.name = image.name;
  if (image.stack !== undefined) error.stack = image.stack;
  if (!image.larder && image.code !== undefined) Object.assign(error, { code: image.code });
  if (image.system !== undefined) Object.assign(error, image.system);
  return error;
}
