/** Hears of the work that requests wait for. Times are in seconds. */
export interface Observer {
  readonly storage: (operation: string, seconds: number, failed: boolean) => void;
  /** `kind`: select, insert, update, delete, other. */
  readonly database: (kind: string, seconds: number, failed: boolean) => void;
}

/** Tells all of them. */
export function observers(all: readonly Observer[]): Observer {
  return {
    storage: (...event) => {
      for (const each of all) each.storage(...event);
    },
    database: (...event) => {
      for (const each of all) each.database(...event);
    },
  };
}
