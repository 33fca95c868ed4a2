/**
 * Nix's log for programs: lines of `@nix ` and a JSON object, as `--log-format internal-json` prints them and
 * nix-output-monitor reads them. What runs is an activity: it starts, gives results, and stops.
 * Reference: `logging.hh` and `JSONLogger` in `logging.cc`.
 */

/** Kinds of activities. */
export const ACTIVITY = {
  copyPath: 100,
  fileTransfer: 101,
  realise: 102,
  copyPaths: 103,
  builds: 104,
  build: 105,
  substitute: 108,
  postBuildHook: 110,
} as const;

/** Kinds of what an activity tells meanwhile. */
export const RESULT = {
  buildLogLine: 101,
  setPhase: 104,
  /** Done, expected, running, failed. */
  progress: 105,
  /** A kind of activity, and how much of it is expected. */
  setExpected: 106,
  postBuildLogLine: 107,
} as const;

/** How loud a message is, as Nix counts. */
export const LOG_LEVEL = { error: 0, warning: 1, notice: 2, info: 3 } as const;

export type LogFields = readonly (string | number)[];

export interface ActivityStart {
  readonly id: number;
  readonly type: number;
  /** What people read of it; Nix shows it with dots behind, if it is loud enough. */
  readonly text?: string;
  readonly level?: number;
  readonly fields?: LogFields;
}

/** A message. All these give whole lines. */
export function formatLogMessage(level: number, text: string): string {
  return formatLine({ action: 'msg', level, msg: text });
}

/** An error by its text alone; Nix shows the word in red, also here. */
export function formatLogError(text: string): string {
  return formatLine({
    action: 'msg',
    column: null,
    file: null,
    level: LOG_LEVEL.error,
    line: null,
    msg: `\x1b[31;1merror:\x1b[0m ${text}`,
    raw_msg: text,
  });
}

export function formatActivityStart({ id, type, text = '', level = 0, fields }: ActivityStart): string {
  return formatLine({ action: 'start', ...(fields === undefined ? {} : { fields }), id, level, text, type });
}

export function formatActivityStop(id: number): string {
  return formatLine({ action: 'stop', id });
}

export function formatActivityResult(id: number, type: number, fields: LogFields): string {
  return formatLine({ action: 'result', fields, id, type });
}

/** The phase that a line of a builder's log sets, as nixpkgs' builders do: `@nix {"action":"setPhase",…}`. */
export function parsePhase(line: string): string | undefined {
  try {
    const message = JSON.parse(line.slice('@nix '.length)) as { action?: unknown; phase?: unknown } | null;
    return message?.action === 'setPhase' && typeof message.phase === 'string' ? message.phase : undefined;
  } catch {
    return undefined; // Whatever a builder writes.
  }
}

function formatLine(record: Readonly<Record<string, unknown>>): string {
  return `@nix ${JSON.stringify(record)}\n`;
}
