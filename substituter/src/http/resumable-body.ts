import { setTimeout as sleep } from 'node:timers/promises';
import { header } from './answer.js';
import { decodeBody } from './content-encoding.js';
import type { FindFile, HttpClient, HttpResponse, RemoteFile } from './http-client.js';
import { HttpError, isTransientHttpError } from './http-error.js';
import { retryDelay } from './retry.js';

export interface BodyOptions {
  /** Where it may go on if it stands still. */
  readonly elsewhere?: FindFile;
  readonly signal?: AbortSignal;
}

/**
 * A file's bytes. When the transfer breaks it goes on from where it was, by a range if the server grants one,
 * else from the start again without giving the same bytes twice. That the file is still the same is asked of
 * the server (`If-Range`) and proven by whoever checks the hash. Bytes arriving count as success: the tries are
 * counted anew after each.
 *
 * A transfer that stands still for longer than the others pause is asked for a second time, from where it is, elsewhere if
 * the file is there, too: whichever goes on first is kept, and the other one ended.
 * @throws HttpError, also for a file that is not there (status 404)
 */
export async function* openResumable(
  client: HttpClient,
  url: URL,
  { signal, elsewhere }: BodyOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  let file: RemoteFile = { client, url };
  let position = 0;
  let validator: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const started = position;
    let transfer: Transfer | undefined;
    try {
      transfer = await Transfer.begin(file, { position, validator, signal });
      for (let patience = client.speedOf(url).longPause; ; ) {
        ({ validator, file } = transfer);
        const step: Step = await nextOf(transfer, { position, patience, elsewhere, signal });
        if (step.hedged) patience *= 2;
        transfer = step.transfer;
        if (step.chunk === undefined) return;
        position += step.chunk.length;
        yield step.chunk;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const failure = asTransferError(error, file.url);
      if (position > started) attempt = 1;
      if (!isTransientHttpError(failure) || attempt >= client.attempts) throw failure;
      const delay = retryDelay(attempt, failure.retryAfter);
      client.noteRetry(failure, delay);
      await sleep(delay, undefined, { signal });
    } finally {
      transfer?.end();
    }
  }
}

interface TransferOptions {
  readonly position: number;
  /** The file is at another place now, where it has another name for its version. */
  readonly hasMoved?: boolean;
  readonly validator: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** One answer, which gives the file's bytes from a position on. */
class Transfer {
  readonly file: RemoteFile;
  /** Names this version of the file, if ranges of it can be asked for. */
  readonly validator: string | undefined;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #abort: AbortController;
  #skip: number;

  private constructor(file: RemoteFile, response: HttpResponse, abort: AbortController) {
    this.file = file;
    // A body that was encoded on the way has other bytes each time: no range of it means anything.
    this.validator =
      header(response, 'content-encoding') === undefined ? strongValidator(response) : undefined;
    const { client, url } = file;
    const body = client.speedOf(url).watch(decodeBody(response, abort.signal));
    this.#chunks = body[Symbol.asyncIterator]();
    this.#abort = abort;
    this.#skip = 0;
  }

  static async begin(
    file: RemoteFile,
    { position, validator, hasMoved = false, signal }: TransferOptions,
  ): Promise<Transfer> {
    const { client, url } = file;
    const abort = new AbortController();
    const either = signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]);
    const headers = rangeHeaders(position, hasMoved ? 'moved' : validator);
    const response = await client.requestOnce(url, { headers, signal: either });
    const transfer = new Transfer(file, response, abort);
    transfer.#skip = position - startOf(response, url, position);
    return transfer;
  }

  /** The next bytes from the position on; `undefined` at the end. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      const chunk = next.value;
      const fresh = chunk.subarray(Math.min(this.#skip, chunk.length));
      this.#skip -= chunk.length - fresh.length;
      if (fresh.length > 0) return fresh;
    }
  }

  end(): void {
    this.#abort.abort();
  }
}

interface Step {
  readonly transfer: Transfer;
  readonly chunk: Uint8Array | undefined;
  readonly hedged?: boolean;
}

interface StepOptions extends BodyOptions {
  readonly position: number;
  /** Milliseconds. */
  readonly patience: number;
}

async function nextOf(transfer: Transfer, options: StepOptions): Promise<Step> {
  const { position, patience, elsewhere, signal } = options;
  const { validator, file } = transfer;
  const first = transfer.next().then((chunk): Step => ({ transfer, chunk }));
  const speed = file.client.speedOf(file.url);
  if (validator === undefined || !(await isLate(first, patience)) || !speed.beginHedge()) return first;
  const lost = new AbortController();
  const either = signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]);
  const goOn = async (): Promise<Step> => {
    const found = await elsewhere?.();
    const hasMoved = found !== undefined;
    const other = await Transfer.begin(found ?? file, { position, validator, hasMoved, signal: either });
    return { transfer: other, chunk: await other.next() };
  };
  try {
    const winner = await Promise.any([first, goOn()]);
    if (winner.transfer === transfer) lost.abort();
    else transfer.end();
    return { ...winner, hedged: true };
  } catch {
    return await first;
  } finally {
    speed.endHedge();
  }
}

async function isLate(step: Promise<unknown>, patience: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<true>((resolve) => {
    timer = setTimeout(resolve, patience, true);
  });
  const done = step.then(
    () => false,
    () => false,
  );
  return Promise.race([done, late]).finally(() => clearTimeout(timer));
}

/** `validator` names the version that a range is to be of; a file that has `moved` is the same by its hash. */
function rangeHeaders(position: number, validator: string | undefined): Record<string, string> {
  // NARs are compressed already; asking for none keeps ranges meaningful.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (position > 0 && validator !== undefined) {
    headers.range = `bytes=${position}-`;
    if (validator !== 'moved') headers['if-range'] = validator;
  }
  return headers;
}

/** Names this very version of the file, for `If-Range`: a strong ETag, else its date. */
function strongValidator(response: HttpResponse): string | undefined {
  const etag = header(response, 'etag');
  if (etag !== undefined && !etag.startsWith('W/')) return etag;
  return header(response, 'last-modified');
}

/** The position in the file of the body's first byte. */
function startOf(response: HttpResponse, url: URL, position: number): number {
  if (response.statusCode !== 206) return 0;
  const range = header(response, 'content-range') ?? '';
  const start = Number(/^bytes (\d+)-/.exec(range)?.[1] ?? Number.NaN);
  if (start <= position) return start;
  throw new HttpError('cache-refused', {
    method: 'GET',
    url,
    status: 206,
    body: `asked for bytes from ${position}, the server sent "${range}"`,
  });
}

function asTransferError(error: unknown, url: URL): HttpError {
  if (error instanceof HttpError) return error;
  return new HttpError('cache-unreachable', { method: 'GET', url, cause: error });
}
