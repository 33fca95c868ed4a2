import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fromByteText } from './eval/byte-text.js';
import type { EvaluationRequest } from './instantiate-request.js';
import { type EvaluationRecord, stampOf, typeStampOf } from './read-recorder.js';

/** Changes when the meaning of an entry, or the language, does. */
const FORMAT = 2;

/** Where the result of a request is kept: a name made of all that was asked for, and of nothing that is read. */
export function cacheFileOf(cacheDir: string, request: EvaluationRequest): string {
  const { environment: _, ...asked } = request;
  const key = createHash('sha256')
    .update(JSON.stringify([FORMAT, asked]))
    .digest('hex');
  return `${cacheDir}/evaluations/${key.slice(0, 2)}/${key.slice(2)}.json`;
}

/** Whether the result of a request may be kept and given again. */
export function isCacheable(request: EvaluationRequest): boolean {
  if (request.addRoot !== undefined || request.goal.kind === 'repl') return false;
  // Asks what is there now, also where nobody can tell by a file.
  const { recreate = false, updates = [] } = request.settings.flakeLock ?? {};
  if (recreate || updates.length > 0) return false;
  return request.sources.every((source) => source.kind !== 'stdin');
}

const fsPath = (path: string): Buffer => Buffer.from(path, 'latin1');

function isCurrent(record: EvaluationRecord, request: EvaluationRequest): boolean {
  return (
    record.environment.every(
      ([name, value]) => (request.environment[fromByteText(name)] ?? null) === value,
    ) &&
    record.types.every(([path, type]) => typeStampOf(fsPath(path)) === type) &&
    record.contents.every(([path, stamp]) => stampOf(fsPath(path)) === stamp)
  );
}

/** The record of an earlier evaluation of the same, if everything that it read is as it was. */
export function readCache(file: string, request: EvaluationRequest): EvaluationRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as EvaluationRecord;
    return isCurrent(record, request) ? record : undefined;
  } catch {
    // No entry, or one that a crash cut short: the evaluation runs.
    return undefined;
  }
}

/** Keeps a record. A cache that cannot be written is no reason to fail. */
export function writeCache(file: string, record: EvaluationRecord): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(record));
    renameSync(temporary, file);
  } catch {
    // The next evaluation is as slow as this one, that is all.
  }
}
