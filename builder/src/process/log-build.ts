import type { BuildContext, BuildJob } from '../build-job.js';
import { parsePhase } from '../nix-log.js';
import { BuildLogWriter } from './build-log.js';
import { LogLines } from './log-lines.js';

/** A build that has ended, and the last lines of its log. */
export interface LoggedBuild<End> {
  readonly end: End;
  readonly tail: readonly string[];
}

/**
 * Runs a build with its log shown line by line and written down.
 * @param run is given what takes the log's bytes, which returns false once they are more than the settings allow
 */
export async function logBuild<End>(
  { store, settings }: BuildContext,
  job: BuildJob,
  run: (onOutput: (chunk: Buffer) => boolean) => Promise<End>,
): Promise<LoggedBuild<End>> {
  const lines = new LogLines(settings.logLines, job.onLogLine, (line) => {
    const phase = parsePhase(line);
    if (phase !== undefined) job.onPhase(phase);
  });
  const log = settings.keepBuildLog
    ? await BuildLogWriter.create(store.layout.logDir, job.path, { compress: settings.compressBuildLog })
    : undefined;
  let size = 0;
  try {
    const end = await run((chunk) => {
      size += chunk.length;
      if (settings.maxBuildLogSize > 0 && size > settings.maxBuildLogSize) return false;
      lines.write(chunk);
      log?.write(chunk);
      return true;
    });
    return { end, tail: lines.tail };
  } finally {
    lines.end(); // The last line, which may lack its end, is of the tail too.
    await log?.close();
  }
}
