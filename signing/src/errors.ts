/** Details of an error that a program may want: a path, a URL, the keys seen. All are printable. */
export type ErrorFields = Readonly<Record<string, unknown>>;

export interface LarderErrorOptions {
  readonly cause?: unknown;
  readonly fields?: ErrorFields;
}

/**
 * The base of every error Larder throws on purpose. `code` is a literal that programs can rely on
 * (`nar-malformed`, `signature-untrusted`); the message names the thing and says what to do.
 */
export class LarderError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly fields: ErrorFields;

  constructor(code: Code, message: string, options: LarderErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LarderError';
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

/** Whether `error` is one of ours with this code. */
export function hasCode<Code extends string>(error: unknown, code: Code): error is LarderError<Code> {
  return error instanceof LarderError && error.code === code;
}
